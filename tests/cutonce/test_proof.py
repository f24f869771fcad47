"""Scores of an exported file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cutonce import proof
from cutonce.tasks import load_task, predict_with
from deploy.workload import Workload
from devices.runtimes import Arrays
from devices.target import Target
from elastic.families import load


def test_no_more_texts_are_scored_at_once_than_every_format_takes(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(str(model))
    task = load_task(
        loaded, kind=None, data=data, text="text", text_pair=None, label="label", evaluation=None,
        max_length=16, seed=0,
    )  # fmt: skip
    answer, seen = predict_with(loaded.encoder), []

    def run(*given: Any) -> list[list[np.ndarray[Any, Any]]]:
        batches: Sequence[Arrays] = given[-1]
        seen.extend(len(batch["input_ids"]) for batch in batches)
        return [[answer(batch)] for batch in batches]

    monkeypatch.setattr(proof, "open_device", lambda _name: SimpleNamespace(run=run))
    exported: Any = SimpleNamespace(path=Path("model.pte"))
    subject = proof.Subject(
        loaded.encoder, Target("local", "executorch", "fp32", 1), exported, Workload(1, 16)
    )
    assert proof.metrics(subject, task, "train") == task.evaluate(answer, "train")
    assert sum(seen) == task.split("train").tokens.lengths.size > max(seen)
    assert max(seen) <= 16

"""Cutting without training from next to nothing: one sentence, empty strings."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import cutonce
from devices.errors import DataError

TARGET = "fake:3/fake/fp32"


def cut(model: Path, texts: Sequence[str], data: Path, place: Path) -> dict[str, Any]:
    """What a search without training finds from ``texts``, scored on ``data``."""
    few = place / "few.csv"
    with few.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((text, "fruit") for text in texts)])
    return cutonce.search(
        model, budgets=[f"{TARGET}=0.75x"], data=few, evaluation=data, text="text", label="label",
        max_length=32, length=32, post_training=True, store=place / "s.sqlite", out=place / "run",
    )  # fmt: skip


@pytest.mark.parametrize("texts", [["the red plum", "an old saw"], ["", "a"], ["", " "]])
def test_next_to_nothing_is_enough_for_a_finite_network(
    texts: list[str], model: Path, data: Path, tmp_path: Path
) -> None:
    [entry] = cut(model, texts, data, tmp_path)["budgets"]
    assert entry["status"] == "met"
    assert all(math.isfinite(value) for value in entry["metrics"]["report"].values())
    assert entry["metrics"]["report"]["agreement"] > 0.5


def test_empty_strings_alone_are_one_text_and_too_few(
    model: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="too few"):
        cut(model, ["", "", ""], data, tmp_path)

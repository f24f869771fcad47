"""Cutting without training from next to nothing: one sentence, empty strings."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import cutonce
from devices.errors import DataError
from elastic.families import load

TARGET = "fake:3/fake/fp32"


@pytest.fixture
def store(tmp_path: Path, model: Path, put_profile: Callable[..., Path]) -> Path:
    """That has a profile around the model."""
    path = tmp_path / "s.sqlite"
    put_profile(path, TARGET, encoders=14, around=load(model).encoder.architecture)
    return path


def cut(model: Path, texts: Sequence[str], data: Path, store: Path) -> dict[str, Any]:
    """What a search without training finds from ``texts``, scored on ``data``."""
    few = store.with_name("few.csv")
    with few.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((text, "fruit") for text in texts)])
    return cutonce.search(
        model, budgets=[f"{TARGET}=0.75x"], data=few, evaluation=data, text="text", label="label",
        max_length=32, length=32, post_training=True, rounds=1, visits=9, store=store,
        out=store.with_name("run"),
    )  # fmt: skip


@pytest.mark.parametrize("texts", [["the red plum", "an old saw"], ["", " "]])
def test_next_to_nothing_is_enough_for_a_finite_network(
    texts: list[str], model: Path, data: Path, store: Path
) -> None:
    [entry] = cut(model, texts, data, store)["budgets"]
    assert entry["status"] == "met"
    assert all(math.isfinite(value) for value in entry["metrics"]["report"].values())
    assert entry["metrics"]["report"]["agreement"] > 0.5


def test_empty_strings_alone_are_one_text_and_too_few(model: Path, data: Path, store: Path) -> None:
    with pytest.raises(DataError, match="too few"):
        cut(model, ["", "", ""], data, store)

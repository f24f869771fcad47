"""The embedded task: real paragraphs, near-duplicates on one side."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from cutonce.example.corpus import CLASSES, Paragraph, collect, split, write
from cutonce.example.tokenizer import SPECIAL, train_tokenizer
from devices.errors import DataError


def test_the_standard_library_of_this_python() -> None:
    found = collect()
    counts = Counter(paragraph.package for paragraph in found)
    assert len(counts) == CLASSES
    assert len(found) > 3000
    assert "test" not in counts
    assert len(set(found)) == len(found)


def test_near_duplicates_stay_together() -> None:
    shared = "this run of more than eight words stands in both of these paragraphs"
    pairs = [Paragraph(f"{head} {shared}", "a") for head in ("One", "Another")]
    others = [Paragraph("quite different text " + "x" * number, "b") for number in range(40)]
    for seed in range(20):
        rest, held_out = split([*pairs, *others], share=0.3, seed=seed)
        assert sorted(p.text for p in [*rest, *held_out]) == sorted(
            p.text for p in [*pairs, *others]
        )
        assert (pairs[0] in rest) == (pairs[1] in rest)


def test_same_seed_same_split() -> None:
    found = [Paragraph("text of its own " + "x" * number, "a") for number in range(50)]
    assert split(found, 0.2, 1) == split(found, 0.2, 1)
    assert split(found, 0.2, 1) != split(found, 0.2, 2)


def test_a_stripped_library_is_said(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text('"""A docstring of quite enough words to count here."""')
    (tmp_path / "broken.py").write_text("def (")
    with pytest.raises(DataError, match="1 packages"):
        collect(tmp_path)


def test_written_as_csv(tmp_path: Path) -> None:
    write([Paragraph('with "quotes", commas', "a")], tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["text", "package"], ['with "quotes", commas', "a"]]


def test_same_texts_same_vocabulary(tmp_path: Path) -> None:
    rng = random.Random(0)
    texts = [" ".join("".join(rng.choices("abcdefgh", k=5)) for _ in range(40)) for _ in range(20)]
    for name in ("one", "two", "three"):
        train_tokenizer(texts, 90, tmp_path / name, 32)
    first, *others = (
        (tmp_path / name / "tokenizer.json").read_text() for name in ("one", "two", "three")
    )
    assert all(other == first for other in others)
    vocabulary = json.loads(first)["model"]["vocab"]
    assert len(vocabulary) == 90
    special = [token["content"] for token in json.loads(first)["added_tokens"]]
    assert special == list(SPECIAL)

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deploy.examples import read_examples
from deploy.kinds.classification import TextClassification
from devices.errors import DataError

LABEL = TextClassification().read_label


def jsonl(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_pairs_and_labels_as_text(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "a.jsonl",
        {"a": "x", "b": 1, "label": 1.0},
        {"a": "", "b": "y", "label": " no "},
    )
    examples = read_examples(path, ["a", "b"], "label", read_label=LABEL)
    assert examples.texts == [("x", "1"), ("", "y")]
    assert examples.labels == ["1", "no"]
    taken = examples.take(np.array([1]))
    assert (taken.texts, taken.labels) == ([("", "y")], ["no"])
    assert read_examples(path, ["a"], None).labels is None


@pytest.mark.parametrize(
    "row", [{"text": "x", "label": " "}, {"text": "x", "label": None}, {"text": "x"}]
)
def test_empty_label(tmp_path: Path, row: dict[str, object]) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"text": "x", "label": "1"}, row)
    with pytest.raises(DataError, match=r"row 2 .* in column 'label'"):
        read_examples(path, ["text"], "label", read_label=LABEL)


def test_missing_text(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"text": float("nan"), "label": 1})
    with pytest.raises(DataError, match="row 1 has no value in column 'text'"):
        read_examples(path, ["text"], "label")


def test_columns_by_number(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("id1\t1\t\tFirst sentence.\nid2\t0\t*\tSecond sentence.\n")
    examples = read_examples(path, ["3"], "1")
    assert examples.texts == [("First sentence.",), ("Second sentence.",)]
    assert examples.labels == ["1", "0"]


def test_digest_names_the_content_not_the_file(tmp_path: Path) -> None:
    rows = [{"text": "one", "label": "a"}, {"text": "two", "label": "b"}]
    one, two, other = (tmp_path / f"{name}.jsonl" for name in "abc")
    digests = [
        read_examples(jsonl(path, *given), ["text"], "label").digest
        for path, given in ((one, rows), (two, rows), (other, rows[::-1]))
    ]
    assert digests[0] == digests[1] != digests[2]

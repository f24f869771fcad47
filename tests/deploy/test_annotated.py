from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.datafiles import read_table
from devices.errors import DataError


def test_tagged_words(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("-DOCSTART- X O\n\nAda\tNNP\tB-PER\nslept\tVBD\tO\n\n\nParis X B-LOC\n")
    table = read_table(path)
    assert table["words"].tolist() == [["Ada", "slept"], ["Paris"]]
    assert table["tags"].tolist() == [["B-PER", "O"], ["B-LOC"]]
    path.write_text("Ada B-PER\nslept\n")
    with pytest.raises(DataError, match="line 2 holds 'slept' alone"):
        read_table(path)


def test_questions(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    entry = {"question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}
    data = {"data": [{"paragraphs": [{"context": "Ada slept.", "qas": [entry]}]}]}
    path.write_text(json.dumps(data))
    [row] = read_table(path).to_dict("records")
    assert (row["question"], row["context"]) == ("Who?", "Ada slept.")
    assert row["answers"] == {"text": ["Ada"], "answer_start": [0]}
    path.write_text(json.dumps([{"text": "a table"}]))
    with pytest.raises(DataError, match="no questions as SQuAD's"):
        read_table(path)


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one text\n\n another \n")
    assert read_table(path)["text"].tolist() == ["one text", "another"]

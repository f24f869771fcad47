from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from deploy.datafiles import column, read_table
from devices.errors import DataError, MissingDependency, UnknownName, UsageError


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_tsv_is_literal(tmp_path: Path) -> None:
    text = 'text\tlabel\nhe said "no\t1\nline\u2028separator\x0bstays\t0\nnull\tnan\n'
    table = read_table(write(tmp_path / "a.tsv", text))
    assert table["text"].tolist() == ['he said "no', "line\u2028separator\x0bstays", "null"]
    assert table["label"].tolist() == ["1", "0", "nan"]


def test_byte_order_mark_carriage_returns_and_surplus_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", b"\xef\xbb\xbfQuality\ttext\r\n1\tgood\tlicence\r\n")
    table = read_table(path)
    assert list(table.columns) == ["Quality", "text"]
    assert table.iloc[0].tolist() == ["1", "good"]


def test_without_header_columns_are_numbers(tmp_path: Path) -> None:
    for ending, mark in ((".tsv", "\t"), (".csv", ",")):
        path = write(tmp_path / f"a{ending}", f"x{mark}1\ny{mark}0\n")
        table = read_table(path, header=False)
        assert column(table, "1", path).tolist() == ["1", "0"]


def test_csv_keeps_text(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", 'text,label\n"a, ""b""",007\nNA,1\n'))
    assert table["text"].tolist() == ['a, "b"', "NA"]
    assert table["label"].tolist() == ["007", "1"]


def test_jsonl(tmp_path: Path) -> None:
    rows = [{"text": "2021-01-01", "label": 1}, {"text": "b", "label": 12345678901234567890}]
    table = read_table(write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n"))
    assert table.to_dict("records") == rows


def test_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": ["a", "b"], "label": [0, 1]}).to_parquet(path)
    assert read_table(path)["label"].tolist() == [0, 1]
    with pytest.raises(DataError, match="not a Parquet file"):
        read_table(write(path, "no"))


def test_hub_data_set_from_a_local_copy(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    write(tmp_path / "train.csv", "text,label\na,0\n")
    write(tmp_path / "validation.csv", "text,label\nb,1\n")
    assert read_table(f"hub:{tmp_path}")["text"].tolist() == ["a"]
    assert read_table(f"hub:{tmp_path}:default:validation")["text"].tolist() == ["b"]
    with pytest.raises(DataError, match="nosplit"):
        read_table(f"hub:{tmp_path}:default:nosplit")


@pytest.mark.parametrize("module", ["datasets", "pyarrow"])
def test_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    source = "hub:glue:sst2" if module == "datasets" else write(tmp_path / "a.parquet", "x")
    with pytest.raises(MissingDependency, match=r'pip install "cutonce\[hub\]"'):
        read_table(source)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.tsv", "", "is empty"),
        ("a.csv", " \n", "is empty"),
        ("a.tsv", "text\tlabel\n", "no rows"),
        ("a.tsv", b"text\tlabel\ncaf\xe9\t1\n", "not UTF-8 text .byte 14"),
        ("a.tsv", "text\tlabel\nx\t1\nbroken\n", "line 3 has 1 fields where 2"),
        ("a.csv", 'text,label\n"open,1\n', "not a CSV table"),
        ("a.jsonl", '{"text": 1}\n{oops\n', "line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 is not a JSON object"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, data: str | bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_table(write(tmp_path / name, data))


def test_missing_file_and_unknown_ending(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_table(tmp_path / "a.tsv")
    with pytest.raises(UsageError, match=r"\*\.tsv"):
        read_table(tmp_path / "a.xls")


def test_missing_column_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'sentence'.*label, sentence"):
        column(pd.DataFrame({"sentence": ["a"], "label": ["1"]}), "sentense", "a.tsv")

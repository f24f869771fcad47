"""Reading tables of text: files as they lie on disk, or a hub data set by name."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd

from deploy.annotated import parse_conll, parse_lines, parse_squad
from devices.errors import DataError, MissingDependency, UnknownName

FORMATS = (".tsv", ".csv", ".jsonl", ".parquet", ".conll", ".json", ".txt")
HUB = "hub:"


def read_table(source: str | Path, *, header: bool = True) -> pd.DataFrame:
    """Read a ``.tsv``, ``.csv``, ``.jsonl`` or ``.parquet`` file, or ``hub:NAME[:CONFIG[:SPLIT]]``;
    ``.conll``, ``.json`` of SQuAD and ``.txt`` as :mod:`deploy.annotated` says.

    TSV is read literally: fields end at a tab and rows at a line feed, quote characters are text.
    Without ``header`` the columns of a TSV or CSV are called ``0``, ``1``, … A byte-order mark is
    dropped. TSV and CSV fields stay text, so ``null`` or ``007`` mean themselves.

    Raises:
        DataError: the file is missing, empty, not UTF-8 or not of its format.
        UnknownName: a file name of another ending.
        MissingDependency: a hub name or Parquet without the package for it.
    """
    if str(source).startswith(HUB):
        table = _read_hub(str(source)[len(HUB) :])
    else:
        table = _read_file(Path(source), header)
    if table.empty:
        raise DataError(f"{source} holds no rows; expected a table with at least a few examples.")
    return table


def resolve(source: str | Path) -> str:
    """``source`` as it can be read from any working directory; a hub name as it is."""
    return str(source) if str(source).startswith(HUB) else str(Path(source).resolve())


def column(table: pd.DataFrame, name: str, source: str | Path) -> pd.Series[Any]:
    """Column ``name`` of ``table``. Raises UnknownName with the nearest and all columns."""
    if name not in table.columns:
        raise UnknownName(f"column of {source}", name, [str(c) for c in table.columns])
    return table[name]


def _read_file(path: Path, header: bool) -> pd.DataFrame:
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise UnknownName("kind of data file", path.name, [f"*{known}" for known in FORMATS])
    if not path.is_file():
        raise DataError(f"Data file {path} does not exist; check the path.")
    if ending == ".parquet":
        return _read_parquet(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start}); convert it, for example with iconv."
        ) from error
    if not text.strip():
        raise DataError(f"{path} is empty; expected a table with at least a few examples.")
    match ending:
        case ".jsonl":
            return _parse_jsonl(text, path)
        case ".conll":
            return parse_conll(text, path)
        case ".json":
            return parse_squad(text, path)
        case ".txt":
            return parse_lines(text)
        case ".tsv":
            return _parse_tsv(text, path, header)
    return _parse_csv(text, path, header)


def _parse_tsv(text: str, path: Path, header: bool) -> pd.DataFrame:
    rows = [line.removesuffix("\r").split("\t") for line in text.removesuffix("\n").split("\n")]
    names = rows.pop(0) if header else [str(i) for i in range(len(rows[0]))]
    for number, row in enumerate(rows, start=1 + header):
        if len(row) < len(names):
            raise DataError(
                f"{path} line {number} has {len(row)} fields where {len(names)} were expected; "
                "fields are separated by tabs, and quotes do not join lines."
            )
    # A few public files carry unnamed trailing fields (licences, sources); they are not columns.
    return pd.DataFrame([row[: len(names)] for row in rows], columns=names, dtype=str)


def _parse_csv(text: str, path: Path, header: bool) -> pd.DataFrame:
    try:
        table = pd.read_csv(
            io.StringIO(text), dtype=str, keep_default_na=False, header=0 if header else None
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is not a CSV table ({error}); mend it.") from error
    return table.rename(columns=str)


def _parse_jsonl(text: str, path: Path) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path} line {number} is not JSON ({error}).") from error
        if not isinstance(row, dict):
            raise DataError(f"{path} line {number} is not a JSON object but {line.strip()[:40]!r}.")
        rows.append(row)
    return pd.DataFrame(rows, dtype=object)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingDependency(
            f'Reading {path} needs pyarrow; install it with: pip install "cutonce[hub]".'
        ) from error
    try:
        return pd.read_parquet(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a Parquet file ({error}).") from error


def _read_hub(name: str) -> pd.DataFrame:
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency(
            f"Data set {HUB}{name} needs the datasets package; install it with: "
            'pip install "cutonce[hub]".'
        ) from error
    dataset, _, rest = name.partition(":")
    config, _, split = rest.partition(":")
    datasets.disable_progress_bars()
    try:
        table = datasets.load_dataset(dataset, config or None, split=split or "train").to_pandas()
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"Data set {HUB}{name} cannot be loaded ({type(error).__name__}: {error}); expected "
            f"{HUB}NAME[:CONFIG[:SPLIT]] and a connection, or a copy in the local cache."
        ) from error
    return table

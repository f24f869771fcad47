"""Rows of a table to examples: one or two texts each, and a label as text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.datafiles import column, read_table
from devices.errors import DataError


@dataclass(frozen=True)
class Examples:
    """Texts, as tuples of one or two, and label values, None where the table has none."""

    texts: list[tuple[str, ...]]
    labels: list[str] | None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def digest(self) -> str:
        """16 hex digits that name texts, labels and their order, wherever they were read from."""
        text = json.dumps([self.texts, self.labels])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def take(self, rows: np.ndarray[Any, Any]) -> Examples:
        labels = None if self.labels is None else [self.labels[row] for row in rows]
        return Examples([self.texts[row] for row in rows], labels)


def read_examples(source: str | Path, texts: Sequence[str], label: str | None) -> Examples:
    """The columns ``texts`` and ``label`` of a table (see :func:`deploy.datafiles.read_table`).

    Columns that are all numbers stand for positions, from 0, in a file without header line.

    Raises:
        UnknownName: a column that the table does not have.
        DataError: a cell without value, an empty label, or an unreadable file.
    """
    names = [*texts] if label is None else [*texts, label]
    table = read_table(source, header=not all(name.isdecimal() for name in names))
    columns = {name: column(table, name, source).tolist() for name in names}
    parts = [
        [_text(cell, i, name, source) for i, cell in enumerate(columns[name])] for name in texts
    ]
    labels = None
    if label is not None:
        labels = [_label(cell, i, label, source) for i, cell in enumerate(columns[label])]
    return Examples(list(zip(*parts, strict=True)), labels)


def _text(cell: Any, row: int, name: str, source: str | Path) -> str:
    if cell is None or cell != cell:  # NaN is the only value that differs from itself
        raise DataError(
            f"{source} row {row + 1} has no value in column {name!r}; fill it, or drop the row."
        )
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)  # Parquet may hold class numbers as floats
    return str(cell)


def _label(cell: Any, row: int, name: str, source: str | Path) -> str:
    text = _text(cell, row, name, source).strip()
    return text or _text(None, row, name, source)

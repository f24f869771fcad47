"""Rows of a table to examples: one or two texts each, and a label."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.datafiles import column, read_table
from devices.errors import DataError


@dataclass(frozen=True)
class Examples:
    """Texts, as tuples of one or two, each as the kind of task reads it, and labels likewise; None where
    the table has none."""

    texts: list[tuple[Any, ...]]
    labels: list[Any] | None

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


def read_examples(
    source: str | Path,
    texts: Sequence[str],
    label: str | None,
    read_text: Callable[[Any], Any] = str,
    read_label: Callable[[Any], Any] = str,
) -> Examples:
    """The columns ``texts`` and ``label`` of a table (see :func:`deploy.datafiles.read_table`).

    Columns that are all numbers stand for positions, from 0, in a file without header line.

    Args:
        read_text, read_label: of a cell; ValueError where that is none.

    Raises:
        UnknownName: a column that the table does not have.
        DataError: a cell without value, one that cannot be read, or an unreadable file.
    """
    names = [*texts] if label is None else [*texts, label]
    table = read_table(source, header=not all(name.isdecimal() for name in names))

    def read(name: str, reader: Callable[[Any], Any]) -> list[Any]:
        cells = column(table, name, source).tolist()
        return [_read(reader, cell, row, name, source) for row, cell in enumerate(cells)]

    parts = [read(name, read_text) for name in texts]
    labels = None if label is None else read(label, read_label)
    return Examples(list(zip(*parts, strict=True)), labels)


def _read(reader: Callable[[Any], Any], cell: Any, row: int, name: str, source: str | Path) -> Any:
    if isinstance(cell, float):
        if cell != cell:  # NaN is the only value that differs from itself
            cell = None
        elif cell.is_integer():
            cell = int(cell)  # Parquet may hold class numbers as floats
    where = f"{source} row {row + 1}"
    if cell is None:
        raise DataError(f"{where} has no value in column {name!r}; fill it, or drop the row.")
    try:
        return reader(cell)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{where} holds {str(cell)[:40]!r} in column {name!r}: {error}; mend it, or drop the row."
        ) from error

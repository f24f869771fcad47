"""Label values to the numbers of a model's outputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from devices.errors import DataError, UnknownName


def name_labels(values: Iterable[str]) -> tuple[str, ...]:
    """The different values in order: by number if all are whole numbers, else by name.

    Raises DataError where there is only one.
    """
    found = set(values)
    if len(found) < 2:
        raise DataError(
            f"Every example has the label {found.pop()!r}; a classifier needs at least two."
        )
    numeric = all(value.isdecimal() for value in found)
    return tuple(sorted(found, key=int) if numeric else sorted(found))


def number_labels(
    values: Sequence[str], names: Sequence[str]
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Each value's position in ``names``: by name, or as a number where no value is a name.

    Raises UnknownName for a value that is neither.
    """
    position = {name: i for i, name in enumerate(names)}
    if not any(value in position for value in values):
        position = {str(i): i for i in range(len(names))}
    for value in values:
        if value not in position:
            raise UnknownName("label", value, names)
    return np.array([position[value] for value in values], dtype=np.int64)

"""Dividing rows into train, search and report, so that no text is on two sides."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from devices.errors import DataError

SHARE = 0.1
SEARCH_CAP = 1000


def divide(
    keys: Sequence[Hashable], seed: int, held_out: Sequence[Hashable] | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Row numbers, ascending, of ``train``, ``search`` and, unless it is given, ``report``.

    Rows of equal ``keys`` stay together. Search takes a tenth of the rows, at most 1000, and report
    another tenth. Given the keys of a ``held_out`` report file, rows that occur there are dropped.

    Raises:
        DataError: too few different keys to fill every split.
    """
    groups: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    for key in held_out or ():
        groups.pop(key, None)
    remaining = list(groups.values())
    remaining = [remaining[i] for i in np.random.default_rng(seed).permutation(len(remaining))]
    total = sum(map(len, remaining))
    wanted = max(1, round(total * SHARE))
    rows = {} if held_out is not None else {"report": _take(remaining, wanted)}
    rows["search"] = _take(remaining, min(wanted, SEARCH_CAP))
    rows["train"] = _take(remaining, total)
    if not all(rows.values()):
        raise DataError(
            f"{len(groups)} different texts are too few for the splits {', '.join(sorted(rows))}; "
            "give more examples."
        )
    return {name: np.array(sorted(taken)) for name, taken in rows.items()}


def _take(groups: list[list[int]], count: int) -> list[int]:
    """Remove groups from the end until they hold at least ``count`` rows; return the rows."""
    taken: list[int] = []
    while groups and len(taken) < count:
        taken += groups.pop()
    return taken

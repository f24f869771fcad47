"""Losses that were evaluated once, kept: an interrupted search does not evaluate them again.

An evaluation that fails is kept as NaN: it is left out of the search and counted, and not tried again.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path

from elastic.space import Choice

_log = logging.getLogger(__name__)

Joint = Callable[[Choice, int], float]
"""The loss of a choice, measured on every so many texts."""


def kept(joint: Joint, path: Path) -> Joint:
    """``joint`` with every value written to ``path``, one line each, and read from there again; NaN where
    it raised RuntimeError, as torch does."""
    known = _read(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A line that a kill cut short is not left for the next one to be appended to.
    path.write_text("".join(_line(*key, loss) for key, loss in known.items()))

    def evaluated(choice: Choice, every: int) -> float:
        key = (choice, every)
        if key not in known:
            known[key] = _tried(joint, *key)
            with path.open("a") as file:
                file.write(_line(choice, every, known[key]))
        return known[key]

    return evaluated


def _tried(joint: Joint, choice: Choice, every: int) -> float:
    try:
        return joint(choice, every)
    except RuntimeError as error:
        _log.warning("Network %s is left out, its evaluation failed: %s", list(choice), error)
        return math.nan


def _line(choice: Choice, every: int, loss: float) -> str:
    return json.dumps([choice, every, loss]) + "\n"


def _read(path: Path) -> dict[tuple[Choice, int], float]:
    found: dict[tuple[Choice, int], float] = {}
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        try:
            choice, every, loss = json.loads(line)
        except ValueError:
            break
        found[tuple(choice), every] = loss
    return found

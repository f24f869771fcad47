"""Scores of a task as they are quoted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NONE = "–"
ALLOWED_LOSS = 0.005  # of the score, that a variant of DEVICE/auto may lose: half a point
_PLAIN = ("spearman", "cosine")  # which are no shares


def headline(scores: Mapping[str, Any] | None) -> tuple[str, float] | None:
    """Name and value of the score to quote, the first of a task's metrics; None where there is none."""
    return next(((name, value) for name, value in (scores or {}).items() if name != "n"), None)


def quoted(scores: Mapping[str, Any] | None) -> str:
    """The score to quote, such as ``91.2%``; agreement with the dense model is called so."""
    found = headline(scores)
    if found is None:
        return NONE
    name, value = found
    text = f"{value:.3f}" if name in _PLAIN else f"{value:.1%}"
    return f"{text} agree" if name == "agreement" else text


def name_of(scores: Mapping[str, Any] | None) -> str:
    """What :func:`quoted` quotes, in words."""
    found = headline(scores)
    return "score" if found is None else found[0].replace("_", " ")

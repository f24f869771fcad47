"""From raw runs to the numbers that are quoted. Pure functions of milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Visits = Sequence[Sequence[float]]

QUANTILE = 0.2
LEAST_VISITS = 9  # fewer than these have no meaningful low quantile; their minimum stands for it
_DRAWS = 400
_COVERAGE = 0.9


@dataclass(frozen=True)
class Statistics:
    """Milliseconds.

    Attributes:
        p20: intrinsic latency: the low quantile of the visits' minima.
        p50, p90: of all runs, disturbed or not.
        interval: 90 % bootstrap interval of ``p20`` over visits.
    """

    p20: float
    p50: float
    p90: float
    interval: tuple[float, float]
    visits: int
    runs: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "interval": list(self.interval)}


def intrinsic(minima: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """[..., visits] minima of visits -> [...] intrinsic latency."""
    if minima.shape[-1] < LEAST_VISITS:
        return minima.min(-1)
    return np.quantile(minima, QUANTILE, axis=-1)


def summarise(visits: Visits) -> Statistics:
    """Statistics of at least one visit of at least one run each.

    The interval resamples visits, not runs: runs of one visit share whatever disturbed it.
    """
    minima = np.array([min(visit) for visit in visits])
    runs = np.concatenate([np.asarray(visit, dtype=float) for visit in visits])
    drawn = np.random.default_rng(0).integers(0, len(minima), (_DRAWS, len(minima)))
    low, high = np.quantile(intrinsic(minima[drawn]), [(1 - _COVERAGE) / 2, (1 + _COVERAGE) / 2])
    p50, p90 = np.quantile(runs, [0.5, 0.9])
    return Statistics(
        float(intrinsic(minima)),
        float(p50),
        float(p90),
        (float(low), float(high)),
        len(minima),
        len(runs),
    )


def within(visits: Visits, limit: float) -> float:
    """Share of all runs that took at most ``limit`` milliseconds."""
    runs = np.concatenate([np.asarray(visit, dtype=float) for visit in visits])
    return float(np.mean(runs <= limit))


def contention(visits: Visits) -> float:
    """Upper quartile of the visits' minima over the least: 1 on a machine that holds still."""
    minima = np.array([min(visit) for visit in visits])
    return float(np.quantile(minima, 0.75) / minima.min())

"""From raw runs to the numbers that are quoted. Pure functions of milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Visits = Sequence[Sequence[float]]

QUANTILE = 0.2
LEAST_VISITS = 9  # fewer than these have no meaningful low quantile; their minimum stands for it
AGREE = 0.01  # by which the lowest visits of a settled configuration differ at most
_DRAWS = 400
_COVERAGE = 0.9


@dataclass(frozen=True)
class Statistics:
    """Milliseconds.

    Attributes:
        p20: intrinsic latency: the low quantile of the undisturbed visits' minima.
        p50, p90, p99: contended latency: of all runs, disturbed or not.
        interval: 90 % bootstrap interval of ``p20`` over visits.
        visits: taken. quiet: of these, undisturbed.
    """

    p20: float
    p50: float
    p90: float
    p99: float
    interval: tuple[float, float]
    visits: int
    quiet: int
    runs: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "interval": list(self.interval)}


def intrinsic(minima: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """[..., visits] minima of visits -> [...] intrinsic latency."""
    if minima.shape[-1] < LEAST_VISITS:
        return minima.min(-1)
    return np.quantile(minima, QUANTILE, axis=-1)


def agree(minima: Sequence[float], share: float = AGREE) -> bool:
    """Whether the lowest three visits lie within ``share`` of each other."""
    lowest = sorted(minima)[:3]
    return len(lowest) == 3 and lowest[2] <= (1 + share) * lowest[0]


def summarise(visits: Visits, quiet: Sequence[bool] | None = None) -> Statistics:
    """Statistics of at least one visit of at least one run each.

    The interval resamples visits, not runs: runs of one visit share whatever disturbed it.

    Args:
        quiet: which visits were undisturbed; all by default. Where none was, all count.
    """
    everything = np.array([min(visit) for visit in visits])
    calm = np.ones(len(visits), bool) if quiet is None else np.array(quiet, bool)
    minima = everything[calm] if calm.any() else everything
    runs = np.concatenate([np.asarray(visit, dtype=float) for visit in visits])
    drawn = np.random.default_rng(0).integers(0, len(minima), (_DRAWS, len(minima)))
    low, high = np.quantile(intrinsic(minima[drawn]), [(1 - _COVERAGE) / 2, (1 + _COVERAGE) / 2])
    p50, p90, p99 = np.quantile(runs, [0.5, 0.9, 0.99])
    return Statistics(
        p20=float(intrinsic(minima)),
        p50=float(p50),
        p90=float(p90),
        p99=float(p99),
        interval=(float(low), float(high)),
        visits=len(visits),
        quiet=int(calm.sum()),
        runs=len(runs),
    )


def ratio(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Intrinsic latency of ``second`` over that of ``first``, with its 90 % bootstrap interval.

    Args:
        first, second: minima of undisturbed visits, at least one each.

    Returns:
        The ratio, and the lower and upper end of the interval.
    """
    rng = np.random.default_rng(0)
    levels = []
    for minima in (np.asarray(first, dtype=float), np.asarray(second, dtype=float)):
        drawn = rng.integers(0, len(minima), (_DRAWS, len(minima)))
        levels.append((intrinsic(minima), intrinsic(minima[drawn])))
    (one, ones), (two, twos) = levels
    low, high = np.quantile(twos / ones, [(1 - _COVERAGE) / 2, (1 + _COVERAGE) / 2])
    return float(two / one), float(low), float(high)


def within(visits: Visits, limit: float) -> float:
    """Share of all runs that took at most ``limit`` milliseconds."""
    runs = np.concatenate([np.asarray(visit, dtype=float) for visit in visits])
    return float(np.mean(runs <= limit))


def contention(visits: Visits) -> float:
    """Upper quartile of the visits' minima over the least: 1 on a machine that holds still."""
    minima = np.array([min(visit) for visit in visits])
    return float(np.quantile(minima, 0.75) / minima.min())

"""From raw runs to the numbers that are quoted. Pure functions of milliseconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Visits = Sequence[Sequence[float]]

LEAST_VISITS = 9  # fewer tell little of how far the least of them would move
AGREE = 0.01  # by which the lowest visits of a settled configuration differ at most
RANK = 5  # of the order statistic that bounds where the least visit of another campaign would lie


@dataclass(frozen=True)
class Statistics:
    """Milliseconds.

    Attributes:
        intrinsic: the least visit. Whatever disturbs a run makes it slower, never faster.
        p50, p90, p99: contended latency: of all runs, disturbed or not.
        interval: see :func:`interval`.
        visits: taken. quiet: of these, undisturbed.
    """

    intrinsic: float
    p50: float
    p90: float
    p99: float
    interval: tuple[float, float]
    visits: int
    quiet: int
    runs: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "interval": list(self.interval)}


def interval(minima: Sequence[float]) -> tuple[float, float]:
    """Where the least visit of another campaign would lie, 15 times of 16.

    It is the least visit with as much to either side as it is to the fifth lowest. Of two samples of
    one size the least of the one lies above the kth lowest of the other with a chance of nearly 2^-k,
    whatever the distribution; below, as often where the density is level at the lower end. Fewer than
    five visits give the range of what there is.
    """
    lowest = sorted(minima)[:RANK]
    return max(0.0, 2 * lowest[0] - lowest[-1]), lowest[-1]


def agree(minima: Sequence[float], share: float = AGREE) -> bool:
    """Whether the lowest three visits lie within ``share`` of each other."""
    lowest = sorted(minima)[:3]
    return len(lowest) == 3 and lowest[2] <= (1 + share) * lowest[0]


def summarise(visits: Visits, quiet: Sequence[bool] | None = None) -> Statistics:
    """Statistics of at least one visit of at least one run each.

    Args:
        quiet: which visits were undisturbed; all by default.
    """
    minima = [min(visit) for visit in visits]
    runs = np.concatenate([np.asarray(visit, dtype=float) for visit in visits])
    p50, p90, p99 = np.quantile(runs, [0.5, 0.9, 0.99])
    return Statistics(
        intrinsic=min(minima),
        p50=float(p50),
        p90=float(p90),
        p99=float(p99),
        interval=interval(minima),
        visits=len(visits),
        quiet=len(visits) if quiet is None else sum(quiet),
        runs=len(runs),
    )


def ratio(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Intrinsic latency of ``second`` over that of ``first``, with its interval.

    Args:
        first, second: minima of visits, at least one each.

    Returns:
        The ratio, and the lower and upper end of the interval: the intervals of the two, taken to be
        independent.
    """
    widths = [math.log(interval(minima)[1] / min(minima)) for minima in (first, second)]
    value, width = min(second) / min(first), math.exp(math.hypot(*widths))
    return value, value / width, value * width


def within(visits: Visits, limit: float) -> float:
    """Share of all runs that took at most ``limit`` milliseconds."""
    runs = np.concatenate([np.asarray(visit, dtype=float) for visit in visits])
    return float(np.mean(runs <= limit))


def contention(visits: Visits) -> float:
    """Upper quartile of the visits' minima over the least: 1 on a machine that holds still."""
    minima = np.array([min(visit) for visit in visits])
    return float(np.quantile(minima, 0.75) / minima.min())

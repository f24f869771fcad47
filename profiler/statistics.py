"""From raw runs to the numbers that are quoted. Pure functions of milliseconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Visits = Sequence[Sequence[float]]
Taken = Sequence[tuple[float, float]]

LEAST_VISITS = 9  # fewer tell little of how far the least of them would move
AGREE = 0.01  # by which the lowest visits of a settled configuration differ at most
NEAR = 1.0  # second between two visits that one state of the machine is taken to hold for
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


def agree(taken: Taken, apart: float = 0.0) -> bool:
    """Whether the lowest three visits lie within 1 % of each other.

    Args:
        taken: moment, in seconds, and least run, in milliseconds, of each visit.
        apart: seconds that the three have to lie from each other at least.
    """
    lowest: list[tuple[float, float]] = []
    for started, least in sorted(taken, key=lambda visit: visit[1]):
        if all(abs(started - other) >= apart for other, _ in lowest):
            lowest.append((started, least))
        if len(lowest) == 3:
            return least <= (1 + AGREE) * lowest[0][1]
    return False


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


def paired_ratio(first: Taken, second: Taken) -> tuple[float, float, float] | None:
    """How many times as long ``second`` takes as ``first``, from visits right after each other.

    What slows a machine for seconds slows both visits of a pair, so that the median of their ratios is
    ten times as sharp as the ratio of medians; for subjects that are nearly alike, since others may
    suffer differently.

    Args:
        first, second: moment, in seconds, and least run, in milliseconds, of each visit.

    Returns:
        The median with the lower and upper end of its interval, which holds the true median at least 15
        times of 16, by the order statistics of a binomial. None where fewer than five visits have
        another within a second.
    """
    ratios = []
    for started, least in first:
        moment, other = min(second, key=lambda visit: abs(visit[0] - started))
        if abs(moment - started) <= NEAR:
            ratios.append(other / least)
    count = len(ratios)
    if count < 5:
        return None
    tails = np.cumsum([math.comb(count, k) for k in range(count)]) / 2.0**count
    rank = int(np.sum(2 * tails <= 1 / 16)) - 1
    ordered = sorted(ratios)
    return float(np.median(ordered)), ordered[rank], ordered[-1 - rank]


def within(visits: Visits, limit: float) -> float:
    """Share of all runs that took at most ``limit`` milliseconds."""
    runs = np.concatenate([np.asarray(visit, dtype=float) for visit in visits])
    return float(np.mean(runs <= limit))


def contention(visits: Visits) -> float:
    """Upper quartile of the visits' minima over the least: 1 on a machine that holds still."""
    minima = np.array([min(visit) for visit in visits])
    return float(np.quantile(minima, 0.75) / minima.min())

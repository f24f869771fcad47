"""From raw runs to the numbers that are quoted. Pure functions of milliseconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Visits = Sequence[Sequence[float]]
Taken = Sequence[tuple[float, float]]

SURE = 0.95  # how often what is promised has to hold
LEAST_VISITS = 9  # fewer tell little of how far the least of them would move
AGREE = 0.01  # by which the lowest visits of a settled configuration differ at most
NEAR = 1.0  # second between two visits that one state of the machine is taken to hold for
LOW = (
    0.03  # share of the visits that are lower than the intrinsic latency, where that is one at all
)


@dataclass(frozen=True)
class Statistics:
    """Milliseconds.

    Attributes:
        intrinsic: see :func:`intrinsic`.
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


def intrinsic(minima: Sequence[float]) -> float:
    """The least visit of up to 33, and of more the one that 3 % of them reach.

    Whatever disturbs a run makes it slower, never faster, so the lowest visits are the least disturbed.
    Of very many the very least is a stroke of luck that another campaign may not have: over campaigns of
    120 visits on a busy machine it moves by 4.7 % at the 90th percentile, their 3 % quantile by 2.8 %.
    """
    return float(np.quantile(minima, LOW, method="interpolated_inverted_cdf"))


def interval(minima: Sequence[float]) -> tuple[float, float]:
    """Where the intrinsic latency of another campaign would lie, 15 times of 16.

    It is the intrinsic latency with as much to either side as it is to an order statistic above. Of two
    samples of one size the rth lowest of the one lies above the kth lowest of the other with the chance
    of fewer than r heads in k + r − 1 throws of a coin, whatever the distribution, which is less than
    1/32 for k = r + 4 √r; below, as often where the density is level at the lower end. Fewer visits
    than that give the range of what there is.
    """
    low, rank = intrinsic(minima), max(1.0, LOW * len(minima))
    highest = sorted(minima)[: math.ceil(rank + 4 * math.sqrt(rank))][-1]
    return max(0.0, 2 * low - highest), highest


def at_most(minima: Sequence[float]) -> float:
    """What the intrinsic latency of another campaign does not exceed, 19 times of 20 at least.

    An order statistic, as in :func:`interval`: of two samples of one size the rth lowest of the one lies
    above the kth lowest of the other as often as k or more tails come before the rth head.
    """
    from scipy.stats import nbinom  # slow to import, and a prediction needs none of it

    rank = math.ceil(max(1.0, LOW * len(minima)))
    return sorted(minima)[: int(nbinom.ppf(SURE, rank, 0.5)) + 1][-1]


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
        intrinsic=intrinsic(minima),
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
    value = intrinsic(second) / intrinsic(first)
    width = _joined(*(interval(minima)[1] / intrinsic(minima) for minima in (first, second)))
    return value, value / width, value * width


def ratio_at_most(first: Sequence[float], second: Sequence[float]) -> float:
    """What the intrinsic latency of ``second`` over that of ``first`` does not exceed in other campaigns,
    19 times of 20; see :func:`at_most` and :func:`ratio`.
    """
    width = _joined(*(at_most(minima) / intrinsic(minima) for minima in (first, second)))
    return intrinsic(second) / intrinsic(first) * width


def _joined(*widths: float) -> float:
    """By how many times a ratio may be off whose sides may be off by these, independently."""
    return math.exp(math.hypot(*map(math.log, widths)))


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

"""From measurements to a law: tile and spill threshold by leave-one-out, then the interval.

Each refinement has to earn its place: it is taken only where it lowers the leave-one-out error
clearly, because a dozen rows would otherwise be explained by chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deploy.architecture import Architecture
from deploy.workload import Workload
from predictors.features import WEIGHTS, Array, Features
from predictors.law import LatencyLaw
from predictors.regression import LEAST_SIGMA, fit_non_negative, leave_one_out

TILES = (1, 16, 32, 64)
SPILLS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # MiB
ON_EACH_SIDE = 3  # rows that a threshold must have on each side to show at all
CLEARLY = 0.1  # share of the simpler law's leave-one-out error that a refinement must save
SURELY = 1.5  # standard errors that this saving must exceed: the best of many may win by chance
WIDENING = 2.0  # for the largest residual, where the rows are too few for the wanted quantile
LEAST_RATIO = 1e-3  # of predicted to measured; bounds log residuals where a refit predicts nothing


@dataclass(frozen=True, eq=False)
class _Candidate:
    features: Features
    matrix: Array
    loo: Array
    errors: Array  # |log(predicted / measured)| by leave-one-out, [n]

    @property
    def error(self) -> float:
        return float(self.errors.mean())

    def clearly_beats(self, simpler: _Candidate) -> bool:
        """By a tenth, by more than any measurement can tell, and by 1.5 paired standard errors."""
        gains = simpler.errors - self.errors
        needed = (
            CLEARLY * simpler.error,
            LEAST_SIGMA,
            SURELY * gains.std(ddof=1) / math.sqrt(len(gains)),
        )
        return bool(gains.mean() > max(needed))


def select_law(
    architectures: Sequence[Architecture],
    workloads: Sequence[Workload],
    ms: Array,
    precision: str,
    coverage: float,
) -> tuple[LatencyLaw, Array]:
    """The law that leave-one-out prefers, and its leave-one-out predictions [n] in milliseconds."""
    best = _select(architectures, workloads, ms, precision)
    coefficients = fit_non_negative(best.matrix, ms)
    law = LatencyLaw(best.features, coefficients, best.matrix, spread=0.0)
    spread = conformal_spread(best.errors, law.leverage(best.matrix), coverage)
    return replace(law, spread=spread), best.loo


def _select(
    architectures: Sequence[Architecture], workloads: Sequence[Workload], ms: Array, precision: str
) -> _Candidate:
    """Refinements are judged together with others of the same number, fewest first."""

    def candidate(tile: int, spill: float | None) -> _Candidate:
        features = Features(precision, tile, spill)
        matrix = features.matrix(architectures, workloads)
        loo = leave_one_out(matrix, ms)
        return _Candidate(features, matrix, loo, np.abs(_log_error(loo, ms)))

    best = candidate(TILES[0], None)
    spills = _visible_thresholds(best.matrix[:, WEIGHTS])
    single = [candidate(tile, None) for tile in TILES[1:]]
    single += [candidate(TILES[0], spill) for spill in spills]
    double = [candidate(tile, spill) for tile in TILES[1:] for spill in spills]
    for group in (single, double):
        refined = min(group, key=lambda c: c.error, default=best)
        if refined.clearly_beats(best):
            best = refined
    return best


def _visible_thresholds(weights: Array) -> list[float]:
    ordered = np.sort(weights)
    if len(ordered) < 2 * ON_EACH_SIDE:
        return []
    least, most = ordered[ON_EACH_SIDE - 1], ordered[-ON_EACH_SIDE]
    return [float(spill) for spill in SPILLS if least <= spill < most]


def conformal_spread(log_error: Array, leverages: Array, coverage: float) -> float:
    """Half-width in log milliseconds at a point of no leverage.

    The scores are the leave-one-out residuals over their standard deviation √(1 + h/(1−h)) =
    1/√(1−h), where h is the leverage of the row that was left out; their quantile of rank
    ⌈(n+1)·coverage⌉ holds a new score with that probability (split conformal, Lei et al. 2018,
    arXiv 1604.04173, on jackknife residuals). Where the rank exceeds n, the largest is doubled.
    """
    scores = np.sort(np.abs(log_error) * np.sqrt(np.maximum(0.0, 1 - leverages)))
    rank = math.ceil((len(scores) + 1) * coverage)
    return float(scores[rank - 1] if rank <= len(scores) else WIDENING * scores[-1])


def _log_error(loo: Array, ms: Array) -> Array:
    errors: Array = np.log(np.maximum(loo / ms, LEAST_RATIO))
    return errors

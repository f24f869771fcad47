"""From measurements to a law: tile and spill threshold by leave-one-out, then the later stages.

Each refinement has to earn its place: it is taken only where it lowers the leave-one-out error
clearly, because a dozen rows would otherwise be explained by chance. Fewer rows cannot tell at all, so
that a law shrunk to that of a like target has the tile and the threshold of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deploy.architecture import Architecture
from deploy.workload import Workload
from predictors.conformal import HeldOut
from predictors.features import WEIGHTS, Array, Features
from predictors.model import Model
from predictors.regression import leave_one_out

TILES = (1, 16, 32, 64)
SPILLS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # MiB
ON_EACH_SIDE = 3  # rows that a threshold must have on each side to show at all


@dataclass(frozen=True, eq=False)
class _Candidate:
    features: Features
    matrix: Array
    held_out: HeldOut


def select_model(
    architectures: Sequence[Architecture],
    workloads: Sequence[Workload],
    ms: Array,
    features: Features,
    coverage: float,
    like: Model | None = None,
) -> tuple[Model, Array]:
    """The model that leave-one-out prefers, or where ``like`` is given one that is shrunk to it; and its
    leave-one-out predictions [n].

    Args:
        features: without a tile and a spill threshold, which are found.
    """
    from predictors.regressors import StagedRegressor

    if like is None:
        features, prior = _select(architectures, workloads, ms, features), None
    else:
        features = replace(like.features, precision=features.precision)
        prior = like.law.coefficients
    matrix = features.matrix(architectures, workloads)
    fitted = StagedRegressor(coverage, prior).fit(matrix, ms)
    return Model(features, fitted.law_), fitted.held_out_.predicted


def _select(
    architectures: Sequence[Architecture],
    workloads: Sequence[Workload],
    ms: Array,
    plain: Features,
) -> Features:
    """Refinements are judged together with others of the same number, fewest first."""
    if plain.quantity.stored:  # has no tile and no cache
        return plain

    def candidate(tile: int, spill: float | None) -> _Candidate:
        features = replace(plain, tile=tile, spill=spill)
        matrix = features.matrix(architectures, workloads)
        return _Candidate(features, matrix, HeldOut(leave_one_out(matrix, ms), ms))

    best = candidate(TILES[0], None)
    spills = _visible_thresholds(best.matrix[:, WEIGHTS])
    single = [candidate(tile, None) for tile in TILES[1:]]
    single += [candidate(TILES[0], spill) for spill in spills]
    double = [candidate(tile, spill) for tile in TILES[1:] for spill in spills]
    for group in (single, double):
        refined = min(group, key=lambda c: c.held_out.error, default=best)
        if refined.held_out.clearly_beats(best.held_out):
            best = refined
    return best.features


def _visible_thresholds(weights: Array) -> list[float]:
    ordered = np.sort(weights)
    if len(ordered) < 2 * ON_EACH_SIDE:
        return []
    least, most = ordered[ON_EACH_SIDE - 1], ordered[-ON_EACH_SIDE]
    return [float(spill) for spill in SPILLS if least <= spill < most]

"""From measurements to a law: the tile by leave-one-out, then the later stages.

A tile has to earn its place: it is taken only where it lowers the leave-one-out error clearly, because a
dozen rows would otherwise be explained by chance. Fewer rows cannot tell at all, so that a law shrunk to
that of a like target has the tile of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deploy.architecture import Architecture
from deploy.workload import Workload
from predictors.conformal import HeldOut
from predictors.features import Array, Features
from predictors.model import Model
from predictors.regression import leave_one_out

TILES = (16, 32, 64)


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
        features: without a tile, which is found.
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
    if plain.quantity.stored:  # nothing is multiplied
        return plain

    def held_out(features: Features) -> HeldOut:
        matrix = features.matrix(architectures, workloads)
        return HeldOut(leave_one_out(matrix, ms), ms)

    simple = held_out(plain)
    tiled = {features: held_out(features) for features in (replace(plain, tile=t) for t in TILES)}
    best = min(tiled, key=lambda features: tiled[features].error)
    return best if tiled[best].clearly_beats(simple) else plain

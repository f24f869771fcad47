"""A new target from what is known of others: the one it is like, or an estimate without a measurement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from deploy.architecture import Architecture
from deploy.workload import Workload
from devices.errors import UsageError
from predictors.conformal import HeldOut
from predictors.features import COLUMNS, Array
from predictors.model import Model

ESTIMATED = math.log(1.3)  # half-width of an estimate's interval in log milliseconds, at least
# Causes that the memory limits; the others are limited by arithmetic.
MEMORY = ("weights", "activations", "residual", "tables")


@dataclass(frozen=True)
class Speed:
    """What a device can do, from its data sheet or a short probe.

    Attributes:
        macs: 10⁹ multiply-accumulates a second. bytes: 10⁹ bytes a second from memory.

    Raises:
        UsageError: one of them is not a positive number.
    """

    macs: float
    bytes: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (math.isfinite(value) and value > 0):
                raise UsageError(
                    f"The {name} of a device must be a positive number, not {value!r}."
                )


def nearest(
    known: Sequence[Model],
    architectures: Sequence[Architecture],
    workloads: Sequence[Workload],
    ms: Array,
) -> Model:
    """That of ``known`` which, scaled as a whole, comes nearest to the measurements.

    As HELP (Lee et al. 2021, arXiv 2106.08630) tells devices apart by a few reference encoders.
    """

    def error(model: Model) -> float:
        predicted = model.law.milliseconds(model.rows(architectures, workloads))
        return HeldOut(predicted * np.median(ms / predicted), ms).error

    return min(known, key=error)


def estimated(like: Model, had: Speed, has: Speed) -> Model:
    """Of a device of speed ``has``, from that of one of speed ``had``; nothing was measured.

    Every cause scales with what limits it (the roofline of Williams et al. 2009, doi
    10.1145/1498765.1498785); what a run and a sub-layer cost by themselves scales with the arithmetic.
    """
    slower = {False: had.macs / has.macs, True: had.bytes / has.bytes}
    scale = np.array([slower[name.startswith(MEMORY)] for name in COLUMNS])
    law = replace(
        like.law,
        coefficients=like.law.coefficients * scale,
        spread=max(like.law.spread, ESTIMATED),
    )
    return replace(like, law=law)

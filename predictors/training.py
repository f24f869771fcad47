"""The measured encoders that a predictor was fitted to: its evidence and the edge of its domain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deploy.architecture import Architecture, FeedForward, Projection, SeparableConvolution
from deploy.costs import macs
from deploy.workload import Workload
from devices.errors import UsageError
from predictors.features import Array
from predictors.quantity import LATENCY, Quantity

LEAST_ROWS = 4
SLOWEST, FASTEST = 1e4, 1e15  # multiply-accumulates a second of any device, by far
TIERS = {1: 5, 2: 12, 3: 40}
"""Measured encoders that each tier needs at least."""


@dataclass(frozen=True)
class LooRow:
    """One training encoder, predicted by a fit to all the others; milliseconds."""

    label: str
    measured: float
    predicted: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TrainingRow:
    """One measured encoder; ``loo_ms`` is its prediction by a fit to all the others."""

    architecture: Architecture
    workload: Workload
    ms: float
    loo_ms: float

    def to_json(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture.to_json(),
            "workload": self.workload.to_json(),
            "measured_ms": self.ms,
            "leave_one_out_ms": self.loo_ms,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TrainingRow:
        return cls(
            Architecture.from_json(data["architecture"]),
            Workload.from_json(data["workload"]),
            float(data["measured_ms"]),
            float(data["leave_one_out_ms"]),
        )

    def loo(self, with_workload: bool) -> LooRow:
        label = f"{self.architecture}, {self.workload}" if with_workload else str(self.architecture)
        return LooRow(label, self.ms, self.loo_ms)


def shapes(architectures: Iterable[Architecture], workloads: Iterable[Workload]) -> Array:
    """[n, 6]: hidden size, batch and length of each, and whether it has other than plain operators."""
    found = [
        (a.hidden, w.batch, w.length, *_others(a))
        for a, w in zip(architectures, workloads, strict=True)
    ]
    return np.reshape(found, (len(found), 6))


def _others(architecture: Architecture) -> tuple[bool, bool, bool]:
    """Whether it has gated feed-forwards, convolutions, projections."""
    operators = architecture.operators
    return (
        any(isinstance(op, FeedForward) and op.gated for op in operators),
        any(isinstance(op, SeparableConvolution) for op in operators),
        any(isinstance(op, Projection) for op in operators),
    )


def check_rows(
    architectures: Sequence[Architecture],
    workloads: Sequence[Workload],
    values: Sequence[float],
    quantity: Quantity = LATENCY,
) -> None:
    """Raises UsageError where these rows cannot be fitted to."""
    check_pairs(architectures, workloads)
    if len(values) != len(architectures):
        raise UsageError(
            f"{len(architectures)} architectures came with {len(values)} measured values; give one "
            "for each."
        )
    if len(values) < LEAST_ROWS:
        raise UsageError(
            f"A fit needs at least {LEAST_ROWS} measured encoders, not {len(values)}; measure more."
        )
    for architecture, workload, value in zip(architectures, workloads, values, strict=True):
        if not (math.isfinite(value) and value > 0):
            raise UsageError(
                f"The {quantity.name} of {architecture} is {value!r}, not a positive number of "
                f"{quantity.unit}; leave it out or measure it again."
            )
        if quantity is not LATENCY:
            continue
        rate = 1e3 * macs(architecture, workload) / value
        if rate and not SLOWEST < rate < FASTEST:
            raise UsageError(
                f"{architecture} in {value} ms would be {rate:.0e} multiply-accumulates a second, which "
                "no device does; give latencies in milliseconds."
            )


def check_tier(tier: int | None, rows: int, known: bool) -> int:
    """``tier``, or where it is None the best for so many rows; beside a ``known`` target or not.

    Raises UsageError where the tier is none of 1, 2, 3, or is not to be had.
    """
    if tier is None:
        if rows >= TIERS[3]:
            return 3
        return 1 if known and rows < TIERS[2] else 2
    if tier not in TIERS:
        raise UsageError(
            f"A fit is of tier 1, 2 or 3, not {tier!r}; an estimate alone is of tier 0."
        )
    if rows < TIERS[tier]:
        raise UsageError(
            f"Tier {tier} needs {TIERS[tier]} measured encoders; {TIERS[tier] - rows} are missing "
            f"beside the {rows} given."
        )
    if tier == 1 and not known:
        raise UsageError(
            "Tier 1 is shrunk to a known target, and none is given; profile one first."
        )
    return tier


def check_pairs(architectures: Sequence[Architecture], workloads: Sequence[Workload]) -> None:
    """Raises UsageError where there is not one workload per architecture."""
    if len(architectures) != len(workloads):
        raise UsageError(
            f"{len(architectures)} architectures came with {len(workloads)} workloads; "
            "give one for each."
        )

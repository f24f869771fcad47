"""CostTable: all that a search sees of a device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deploy.architecture import Architecture, Operator
from predictors.features import ADDITIVE, KNOTS, WEIGHTS, Array, in_regimes
from predictors.law import LEAST_MS
from predictors.model import Model

BLOCK = 4096  # rows that fit into a cache
LEAST_MIB = 1e-9  # where a ratio to weights is asked for
RESOLUTION = 10_000  # units of the largest encoder: rounding up costs at most 0.01 % per position


@dataclass(frozen=True, eq=False)
class SharedWeights:
    """Weights that several positions use, and that count once.

    Attributes:
        users: [positions] the choice that uses them, -1 where none does.
        mib: of them.
    """

    users: Array
    mib: float


@dataclass(frozen=True, eq=False)
class CostTable:
    """Latency of every choice at every position, under one law and workload.

    ``choices`` in the methods are indices, one per position, in the order the table was made with.

    Attributes:
        model: of the predictor that the table was made from.
        ends: [12] additive features of what is no choice: embedding, head, constant.
        rows: per position, additive features [choices, 12]; zeros for a dropped sub-layer.
        shared: weights that are none of a choice's own, and not in its row.
    """

    model: Model
    ends: Array
    rows: tuple[Array, ...]
    shared: tuple[SharedWeights, ...] = ()

    @cached_property
    def unit_ms(self) -> float:
        """Milliseconds of one unit: a 10,000th of the largest encoder's additive cost."""
        largest = self._additive(self.ends) + sum(self._additive(rows).max() for rows in self.rows)
        return max(float(largest), LEAST_MS) / RESOLUTION

    @cached_property
    def base(self) -> int:
        """Units, rounded up, of what is no choice."""
        return int(np.ceil(self._additive(self.ends) / self.unit_ms))

    @cached_property
    def units(self) -> tuple[Array, ...]:
        """Per position, additive cost of each choice in whole units, rounded up; 0 if dropped."""
        return tuple(
            np.ceil(self._additive(rows) / self.unit_ms).astype(np.int64) for rows in self.rows
        )

    def budget_units(self, ms: float) -> int:
        """Whole units that fit into ``ms``, rounded down; of an encoder that later stages of the law make
        faster than its sum, as many as fit at best."""
        return math.floor(ms / self.model.law.least_ratio / self.unit_ms)

    def predict(self, choices: Sequence[int]) -> tuple[float, float, float]:
        """Lower, predicted and upper milliseconds by the full law, regimes of the weights included."""
        lower, ms, upper = self.predict_many(np.asarray(choices, dtype=np.int64)[None])
        return float(lower[0]), float(ms[0]), float(upper[0])

    def predict_many(self, choices: Array) -> tuple[Array, Array, Array]:
        """What :meth:`predict` says of every row of ``choices`` [n, positions]: [n] each."""
        found = np.empty((3, len(choices)))
        for at in range(0, len(choices), BLOCK):
            part = choices[at : at + BLOCK]
            whole = np.repeat(self.ends[None], len(part), axis=0)
            for rows, chosen in zip(self.rows, part.T, strict=True):
                whole += rows[chosen]
            for weights in self.shared:
                whole[:, WEIGHTS] += weights.mib * (part == weights.users).any(1)
            found[:, at : at + BLOCK] = self.model.law.interval(
                self.model.features.with_regimes(whole)
            )
        return found[0], found[1], found[2]

    def upper(self, choices: Sequence[int]) -> float:
        """Upper end of the interval in milliseconds: a choice is feasible when this fits."""
        return self.predict(choices)[2]

    def _additive(self, rows: Array) -> Array:
        """Milliseconds that add up: never more than the law's, before later stages."""
        law = self.model.law
        milliseconds: Array = law.factor * (
            rows @ law.coefficients[:ADDITIVE] + self._cached_ms * rows[..., WEIGHTS]
        )
        return milliseconds

    @cached_property
    def _cached_ms(self) -> float:
        """What the regimes cost per MiB of weights in any of these encoders, at least.

        That cost is straight between knots, and the ratio of a line to the weights is least at an end.
        """
        least, most = (
            self.ends[WEIGHTS] + sum(some(rows[:, WEIGHTS]) for rows in self.rows)
            for some in (min, max)
        )
        most += sum(weights.mib for weights in self.shared)
        ends = np.array([least, *(knot for knot in KNOTS if least < knot < most), most])
        ends = np.maximum(ends, LEAST_MIB)
        cost = in_regimes(ends) @ self.model.law.coefficients[ADDITIVE:]
        return float((cost / ends).min())


def shared_weights(
    base: Architecture, choices: Sequence[Sequence[Operator | None]], rows: Sequence[Array]
) -> tuple[SharedWeights, ...]:
    """What sub-layers of ``base`` share as long as a choice leaves them as they are; it is taken out of
    the ``rows`` of these choices."""
    found = []
    for first in sorted({some for some in base.shares if base.shares.count(some) > 1}):
        users = np.full(len(rows), -1)
        mib = 0.0
        for position, some in enumerate(choices):
            if base.shares[position] == first and base.operators[position] in some:
                choice = users[position] = list(some).index(base.operators[position])
                mib, rows[position][choice, WEIGHTS] = rows[position][choice, WEIGHTS], 0.0
        found.append(SharedWeights(users, mib))
    return tuple(found)

"""CostTable: all that a search sees of a device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from predictors.features import MIB, WEIGHTS, Array
from predictors.law import LEAST_MS, LatencyLaw

RESOLUTION = 10_000  # units of the largest encoder: rounding up costs at most 0.01 % per position


@dataclass(frozen=True, eq=False)
class CostTable:
    """Latency of every choice at every position, under one law and workload.

    ``choices`` in the methods are indices, one per position, in the order the table was made with.

    Attributes:
        law: the latency law that the table was made from.
        ends: [8] additive features of what is no choice: embedding, head, constant.
        rows: per position, additive features [choices, 8]; zeros for a dropped sub-layer.
    """

    law: LatencyLaw
    ends: Array
    rows: tuple[Array, ...]

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

    @cached_property
    def weight_bytes(self) -> tuple[Array, ...]:
        """Per position, the bytes of weights that each choice reads in one run."""
        return tuple(np.rint(rows[:, WEIGHTS] * MIB).astype(np.int64) for rows in self.rows)

    def budget_units(self, ms: float) -> int:
        """Whole units that fit into ``ms``, rounded down."""
        return math.floor(ms / self.unit_ms)

    def predict(self, choices: Sequence[int]) -> tuple[float, float, float]:
        """Lower, predicted and upper milliseconds by the full law, cache spill included."""
        picked = [rows[choice] for rows, choice in zip(self.rows, choices, strict=True)]
        whole = np.sum([self.ends, *picked], axis=0)[None]
        lower, ms, upper = self.law.interval(self.law.features.with_spill(whole))
        return float(lower[0]), float(ms[0]), float(upper[0])

    def upper(self, choices: Sequence[int]) -> float:
        """Upper end of the interval in milliseconds: a choice is feasible when this fits."""
        return self.predict(choices)[2]

    def _additive(self, rows: Array) -> Array:
        coefficients = self.law.coefficients[: rows.shape[-1]]
        milliseconds: Array = self.law.factor * (rows @ coefficients)
        return milliseconds

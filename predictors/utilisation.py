"""Utilisation: by how much an encoder of a given size is slower than its sum of causes.

What a kernel makes of a device grows with its size, which no sum over causes can say. Measured over
predicted milliseconds is therefore kept as a table over the predicted ones, and blended in logarithms
between its knots, as NVIDIA's aiconfigurator blends utilisation (design note `perf_interp`). What it
predicts never falls as the sum grows, so that it is monotone wherever the sum is. Numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from predictors.features import Array

NEIGHBOURS = 8  # rows that one knot stands for, at least
SHRINKAGE = 2.0  # rows of ratio 1 that each knot is given beside its own


@dataclass(frozen=True, eq=False)
class Utilisation:
    """milliseconds = predicted · ratio(predicted).

    Attributes:
        predicted: [knots] milliseconds, rising. ratios: [knots] of measured to predicted; beyond the
            ends the last one holds.
    """

    predicted: Array
    ratios: Array

    def __call__(self, ms: Array) -> Array:
        """Milliseconds [n] in place of the predicted ``ms`` [n]."""
        logs = np.interp(np.log(ms), np.log(self.predicted), np.log(self.ratios))
        found: Array = ms * np.exp(logs)
        return found

    def to_json(self) -> dict[str, Any]:
        return {"predicted_ms": self.predicted.tolist(), "ratios": self.ratios.tolist()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Utilisation:
        predicted, ratios = (np.array(data[key], float) for key in ("predicted_ms", "ratios"))
        if predicted.shape != ratios.shape or not (min(predicted.min(), ratios.min()) > 0):
            raise ValueError("a utilisation table needs as many positive ratios as milliseconds")
        return cls(predicted, ratios)


def fit_utilisation(predicted: Array, measured: Array) -> Utilisation:
    """The table of ``measured`` [n] over ``predicted`` [n] milliseconds, both positive."""
    order = np.argsort(predicted, kind="stable")
    parts = np.array_split(order, max(1, len(order) // NEIGHBOURS))
    logs = np.log(measured / predicted)
    knots = np.exp([np.log(predicted[part]).mean() for part in parts])
    ratios = np.exp([logs[part].sum() / (len(part) + SHRINKAGE) for part in parts])
    knots, first = np.unique(knots, return_index=True)
    rising = np.maximum.accumulate(knots * ratios[first])
    return Utilisation(knots, rising / knots)

"""A fitted latency law: milliseconds and their interval from feature rows. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictors.features import Array, Features

LEAST_MS = 1e-6  # no run takes less; keeps relative features finite where every coefficient is zero
# Variance of a relative residual over the prior variance of a relative coefficient: 2 % and 100 %.
RIDGE = 4e-4


@dataclass(frozen=True, eq=False)
class LatencyLaw:
    """milliseconds = factor · features · coefficients, with all coefficients non-negative.

    Attributes:
        features: how architectures become rows.
        coefficients: [9] milliseconds per unit of each column.
        design: [n, 9] feature rows of the training encoders.
        spread: half-width of the interval in log milliseconds at a point of no leverage.
        factor: what later measurements multiply all milliseconds by.
    """

    features: Features
    coefficients: Array
    design: Array
    spread: float
    factor: float = 1.0

    def milliseconds(self, rows: Array) -> Array:
        """[n, 9] features -> [n] milliseconds, positive."""
        return self.factor * np.maximum(rows @ self.coefficients, LEAST_MS)

    def leverage(self, rows: Array) -> Array:
        """[n, 9] -> [n]: how far each row lies from the training rows, in shares of its time.

        The hat value r (RᵀR + λI)⁻¹ rᵀ of the relative regression, where r is the share of each
        column in the predicted time.
        """
        return leverage(self._shares(self.design), self._shares(rows))

    def interval(self, rows: Array) -> tuple[Array, Array, Array]:
        """[n, 9] features -> lower, predicted and upper milliseconds, [n] each."""
        ms = self.milliseconds(rows)
        ratio = np.exp(self.spread * np.sqrt(1 + self.leverage(rows)))
        return ms / ratio, ms, ms * ratio

    def _shares(self, rows: Array) -> Array:
        return self.factor * rows * self.coefficients / self.milliseconds(rows)[:, None]


def leverage(design: Array, rows: Array) -> Array:
    """Hat values [m] of ``rows`` [m, p] in a ridge regression on ``design`` [n, p]."""
    gram = design.T @ design + RIDGE * np.eye(design.shape[1])
    return np.einsum("ij,ij->i", rows, np.linalg.solve(gram, rows.T).T)

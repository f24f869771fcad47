"""A fitted latency law: milliseconds and their interval from feature rows. Numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from predictors.features import Array
from predictors.trees import Trees
from predictors.utilisation import Utilisation

LEAST_MS = 1e-6  # no run takes less; keeps relative features finite where every coefficient is zero
# Variance of a relative residual over the prior variance of a relative coefficient: 2 % and 100 %.
RIDGE = 4e-4


@dataclass(frozen=True, eq=False)
class LatencyLaw:
    """milliseconds = factor · trees(features) · utilisation(features · coefficients).

    Attributes:
        coefficients: [p] milliseconds per unit of each column, none negative.
        design: [n, p] feature rows of the training encoders.
        spread: half-width of the interval in log milliseconds at a point of no leverage.
        coverage: share of new measurements that the interval is to hold.
        utilisation, trees: later stages, None where leave-one-out does not ask for them.
        factor: calibration, of all milliseconds.
    """

    coefficients: Array
    design: Array
    spread: float
    coverage: float
    utilisation: Utilisation | None = None
    trees: Trees | None = None
    factor: float = 1.0

    def milliseconds(self, rows: Array) -> Array:
        """[n, p] features -> [n] milliseconds, positive. Never falls as a feature grows."""
        return self._later_stages(rows, self._sum(rows))

    @property
    def least_ratio(self) -> float:
        """Of milliseconds to factor · features · coefficients: no encoder has a smaller one."""
        sizes = 1.0 if self.utilisation is None else float(self.utilisation.ratios.min())
        return sizes * (1.0 if self.trees is None else self.trees.least)

    def leverage(self, rows: Array) -> Array:
        """[n, p] -> [n]: how far each row lies from the training rows, in shares of its time.

        The hat value r (RᵀR + λI)⁻¹ rᵀ of the relative regression, where r is the share of each
        column in the predicted sum.
        """
        return self._leverage(rows, self._sum(rows))

    def interval(self, rows: Array) -> tuple[Array, Array, Array]:
        """[n, p] features -> lower, predicted and upper milliseconds, [n] each."""
        ms, width = self._predicted(rows)
        ratio = np.exp(width)
        return ms / ratio, ms, ms * ratio

    def probability(self, rows: Array, budget_ms: float) -> Array:
        """[n, p] -> [n]: that a new measurement takes at most ``budget_ms``.

        The logistic law of the logarithm whose two-sided quantile is the interval: its tails are heavier
        than the normal law's, as those of timings are.
        """
        ms, width = self._predicted(rows)
        end = math.log((1 + self.coverage) / (1 - self.coverage))  # logit of the upper end
        far = end * (math.log(budget_ms) - np.log(ms)) / np.maximum(width, 1e-9)
        found: Array = 1 / (1 + np.exp(-np.clip(far, -700, 700)))
        return found

    def _predicted(self, rows: Array) -> tuple[Array, Array]:
        """Milliseconds and the interval's half-width in their logarithm, [n] each."""
        sums = self._sum(rows)
        width = self.spread * np.sqrt(1 + self._leverage(rows, sums))
        return self._later_stages(rows, sums), width

    def _sum(self, rows: Array) -> Array:
        found: Array = np.maximum(rows @ self.coefficients, LEAST_MS)
        return found

    def _later_stages(self, rows: Array, sums: Array) -> Array:
        ms = sums if self.utilisation is None else self.utilisation(sums)
        return self.factor * (ms if self.trees is None else ms * self.trees(rows))

    def _leverage(self, rows: Array, sums: Array) -> Array:
        # With G⁻¹ = LLᵀ the hat value of a row is the squared length of r L.
        found: Array = np.square((rows / sums[:, None]) @ self._root).sum(1)
        return found

    @cached_property
    def _root(self) -> Array:
        shares = self.design * self.coefficients / self._sum(self.design)[:, None]
        gram = shares.T @ shares + RIDGE * np.eye(shares.shape[1])
        found: Array = self.coefficients[:, None] * np.linalg.cholesky(np.linalg.inv(gram))
        return found

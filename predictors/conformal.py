"""What held-out predictions tell: whether a model is better than another, how wide intervals are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from predictors.features import Array
from predictors.regression import LEAST_SIGMA

CLEARLY = 0.1  # share of the simpler model's held-out error that a refinement must save
SURELY = 1.5  # standard errors that this saving must exceed: the best of many may win by chance
SPENT = 6  # scores that the coefficients of a law take
LEAST_FREE = 2
LEAST_RATIO = 1e-3  # of predicted to measured; bounds log residuals where a refit predicts nothing


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions of rows by fits to the others, and what was measured: [n] milliseconds each."""

    predicted: Array
    measured: Array

    @cached_property
    def errors(self) -> Array:
        """|log(predicted / measured)|, [n]."""
        return np.abs(np.log(self._ratios))

    @property
    def error(self) -> float:
        return float(self.errors.mean())

    @property
    def ratio(self) -> float:
        """Median of measured over predicted."""
        return float(np.median(self._ratios))

    def calibrated(self) -> HeldOut:
        """Every prediction times the median ratio of all the others."""
        others = [np.median(np.delete(self._ratios, row)) for row in range(len(self.measured))]
        return HeldOut(self.predicted * np.array(others), self.measured)

    @cached_property
    def _ratios(self) -> Array:
        return self.measured / np.maximum(self.predicted, LEAST_RATIO * self.measured)

    def clearly_beats(self, simpler: HeldOut) -> bool:
        """By a tenth, by more than any measurement can tell, and by 1.5 paired standard errors."""
        gains = simpler.errors - self.errors
        needed = (
            CLEARLY * simpler.error,
            LEAST_SIGMA,
            SURELY * gains.std(ddof=1) / math.sqrt(len(gains)),
        )
        return bool(gains.mean() > max(needed))


def conformal_spread(errors: Array, leverages: Array, coverage: float) -> float:
    """Half-width in log milliseconds at a point of no leverage.

    The scores are the held-out residuals over their standard deviation √(1 + h/(1−h)) = 1/√(1−h),
    where h is the leverage of the row that was left out; their quantile of rank ⌈(n+1)·coverage⌉ holds a
    new score with that probability (split conformal, Lei et al. 2018, arXiv 1604.04173, on jackknife
    residuals).

    Where that would be the largest of so few scores, or beyond it, their mean tells more than the one
    that is worst: the quantile of a new score is that of an exponential law, the heavy tail of timings,
    whose mean m is known from k scores, m k ((1 − coverage)^(−1/k) − 1); k is how many there are beyond
    the :data:`SPENT` ones that the coefficients of a law take.
    """
    scores = np.sort(np.abs(errors) * np.sqrt(np.maximum(0.0, 1 - leverages)))
    rank = math.ceil((len(scores) + 1) * coverage)
    if rank < len(scores):
        return float(scores[rank - 1])
    free = max(LEAST_FREE, len(scores) - SPENT)
    return float(scores.mean() * free * ((1 - coverage) ** (-1 / free) - 1))

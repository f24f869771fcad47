"""Regression: a number for each text, or pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deploy.kinds import Array
from deploy.kinds.of_texts import OfTexts


class Regression(OfTexts):
    """Pearson's and Spearman's correlation, and the root of the mean squared error."""

    output = "regression"

    def read_label(self, cell: Any) -> float:
        return float(cell)

    def name_labels(self, _labels: Sequence[float]) -> tuple[str, ...]:
        return ("value",)

    def number(self, labels: Sequence[float], _names: Sequence[str]) -> Array:
        return np.array(labels, dtype=np.float32)

    def answer(self, outputs: Array, _note: None) -> float:
        return float(outputs[0])

    def scores(
        self,
        answers: Sequence[float],
        truths: Sequence[float],
        _names: Sequence[str],
    ) -> dict[str, float]:
        return {
            "spearman": correlation(_ranks(answers), _ranks(truths)),
            "pearson": correlation(answers, truths),
            "rmse": float(np.sqrt(np.mean(np.subtract(answers, truths) ** 2))),
            "n": len(truths),
        }

    def agreement(self, answers: Sequence[float], reference: Sequence[float]) -> dict[str, float]:
        """Correlation with the other model's numbers."""
        return {"agreement": correlation(answers, reference), "n": len(answers)}


def correlation(first: Any, second: Any) -> float:
    """Pearson's, 0 where either does not vary."""
    one, two = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if one.std() == 0 or two.std() == 0:
        return 0.0
    return float(np.corrcoef(one, two)[0, 1])


def _ranks(values: Sequence[float]) -> Array:
    """Mean ranks of equal values."""
    from scipy.stats import rankdata

    ranks: Array = rankdata(values)
    return ranks

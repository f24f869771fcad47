"""The models of latency as scikit-learn regressors, from non-negative features to positive milliseconds.

Each passes scikit-learn's `check_estimator`. Importing this imports scikit-learn; what they find is
numbers that predict with numpy alone (predictors.law).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from predictors.conformal import HeldOut, conformal_spread
from predictors.features import Array
from predictors.law import LEAST_MS, LatencyLaw
from predictors.regression import DISTURBED, EVEN, Widths, fit_averaged, held_out
from predictors.trees import fit_trees
from predictors.utilisation import fit_utilisation

LEAST_ROWS = 24  # that a stage after the sum over causes is tried with


class _Regressor(RegressorMixin, BaseEstimator):
    """Milliseconds [n] from features [n, p]; a subclass finds the law in ``_fit``."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = tags.target_tags.positive_only = True
        tags.regressor_tags.poor_score = True  # features that cost time, not any that correlate
        return tags

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to features ``X`` [n, p], none negative, and milliseconds ``y`` [n], all positive.

        Raises:
            ValueError: a feature is negative, or a latency is not a positive number.
        """
        X, y = validate_data(self, X, y, y_numeric=True, dtype=float, ensure_min_samples=2)
        if X.min() < 0:
            raise ValueError(
                f"Negative values in data: a feature is {X.min()}; causes only add time."
            )
        if y.min() <= 0:
            raise ValueError(f"A latency is {y.min()}; expected a positive number of milliseconds.")
        self._fit(X, y)
        return self

    def predict(self, X: Any) -> Array:
        """Milliseconds [n] for features ``X`` [n, p]."""
        check_is_fitted(self)
        return self.law_.milliseconds(validate_data(self, X, dtype=float, reset=False))

    def _fit(self, X: Array, y: Array) -> None:
        raise NotImplementedError


class PhysicsRegressor(_Regressor):
    """A sum over causes, no coefficient negative, of least relative error.

    Args:
        prior: coefficients [p] of a like target that the fit is shrunk to.

    Attributes:
        law_: the LatencyLaw that was found. coef_: its coefficients [p].
    """

    def __init__(self, prior: Any = None) -> None:
        self.prior = prior

    def _fit(self, X: Array, y: Array) -> None:
        self.law_ = _physics(X, y, self.prior)
        self.coef_ = self.law_.coefficients


class UtilisationRegressor(_Regressor):
    """The sum over causes, and the utilisation that goes with its size.

    Attributes:
        law_: the LatencyLaw that was found.
    """

    def _fit(self, X: Array, y: Array) -> None:
        self.law_ = _with_utilisation(_physics(X, y, None), X, y)


class ResidualRegressor(_Regressor):
    """The sum over causes, and boosted trees on what it leaves.

    Attributes:
        law_: the LatencyLaw that was found.
    """

    def _fit(self, X: Array, y: Array) -> None:
        self.law_ = _with_trees(_physics(X, y, None), X, y)


class StagedRegressor(_Regressor):
    """The sum over causes, with what held-out rows ask for, and an interval.

    They may ask for one of these: that rows of both sides are doubted alike, a utilisation, trees. At
    last for a factor, since a fit that doubts slow rows is too low where rows err to both sides.

    Args:
        coverage: share of new measurements that the interval is to hold.
        prior: coefficients [p] of a like target that the sum is shrunk to.

    Attributes:
        law_: the LatencyLaw that was found.
        held_out_: the training rows, each predicted by a fit to the others.
    """

    def __init__(self, coverage: float = 0.9, prior: Any = None) -> None:
        self.coverage = coverage
        self.prior = prior

    def _fit(self, X: Array, y: Array) -> None:
        stages = _Stages(self.prior)
        best = stages.held_out(X, y)
        if len(y) >= LEAST_ROWS:
            for finer in (
                replace(stages, widths=EVEN),
                replace(stages, utilisation=True),
                replace(stages, trees=True),
            ):
                found = finer.held_out(X, y)
                if found.clearly_beats(best):
                    stages, best = finer, found
        law = stages.fit(X, y)
        calibrated = best.calibrated()
        if calibrated.clearly_beats(best):
            law, best = replace(law, factor=best.ratio), calibrated
        spread = conformal_spread(best.errors, law.leverage(X), self.coverage)
        self.law_ = replace(law, spread=spread, coverage=self.coverage)
        self.held_out_ = best

    def predict_interval(self, X: Any) -> tuple[Array, Array]:
        """Lower and upper milliseconds, [n] each, for features ``X`` [n, p]."""
        check_is_fitted(self)
        lower, _, upper = self.law_.interval(validate_data(self, X, dtype=float, reset=False))
        return lower, upper


@dataclass(frozen=True, eq=False)
class _Stages:
    """Which stages are on."""

    prior: Array | None
    widths: Widths = DISTURBED
    utilisation: bool = False
    trees: bool = False

    def fit(self, X: Array, y: Array) -> LatencyLaw:
        law = _physics(X, y, self.prior, self.widths)
        if self.utilisation:
            law = _with_utilisation(law, X, y)
        return _with_trees(law, X, y) if self.trees else law

    def held_out(self, X: Array, y: Array) -> HeldOut:
        def fit(rows: Array, ms: Array) -> Callable[[Array], Array]:
            return self.fit(rows, ms).milliseconds

        return HeldOut(held_out(fit, X, y), y)


def _physics(X: Array, y: Array, prior: Any, widths: Widths = DISTURBED) -> LatencyLaw:
    known = None if prior is None else np.asarray(prior, float)
    return LatencyLaw(fit_averaged(X, y, known, widths), X, spread=0.0, coverage=0.9)


def _with_utilisation(law: LatencyLaw, X: Array, y: Array) -> LatencyLaw:
    return replace(law, utilisation=fit_utilisation(law.milliseconds(X), y))


def _with_trees(law: LatencyLaw, X: Array, y: Array) -> LatencyLaw:
    return replace(law, trees=fit_trees(X, np.log(y / np.maximum(law.milliseconds(X), LEAST_MS))))

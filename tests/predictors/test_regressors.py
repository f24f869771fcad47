"""The models as scikit-learn sees them: its own checks, without an exception."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from predictors import regressors
from predictors.regressors import (
    PhysicsRegressor,
    ResidualRegressor,
    StagedRegressor,
    UtilisationRegressor,
)

pytestmark = pytest.mark.usefixtures("few_fits")
MODELS = [PhysicsRegressor(), UtilisationRegressor(), ResidualRegressor(), StagedRegressor()]


@parametrize_with_checks(MODELS)
def test_scikit_learns_own_checks(estimator, check, monkeypatch) -> None:
    # They are of the interface; what the further stages find, and cost, is tested below.
    monkeypatch.setattr(regressors, "LEAST_ROWS", 1000)
    check(estimator)


def rows_of(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([np.ones(n), rng.uniform(0, 10, n), rng.uniform(0, 5, n)])


def noisy(ms: np.ndarray, seed: int) -> np.ndarray:
    return ms * np.exp(np.random.default_rng(seed).normal(0, 0.01, len(ms)))


TRUTH = np.array([0.2, 0.1, 0.3])


def test_no_stage_is_switched_on_for_noise() -> None:
    for seed in range(3):
        rows = rows_of(30, seed)
        law = StagedRegressor().fit(rows, noisy(rows @ TRUTH, seed)).law_
        assert law.utilisation is None
        assert law.trees is None


@pytest.mark.parametrize("n", [30, 100])
def test_utilisation_is_switched_on_where_time_is_no_sum(n: int) -> None:
    rows, asked = rows_of(n, 0), rows_of(50, 9)
    found = StagedRegressor().fit(rows, noisy((rows @ TRUTH) ** 1.4, 0))
    alone = PhysicsRegressor().fit(rows, noisy((rows @ TRUTH) ** 1.4, 0))
    assert found.law_.utilisation is not None
    ours, theirs = (
        np.abs(m.predict(asked) / (asked @ TRUTH) ** 1.4 - 1).mean() for m in (found, alone)
    )
    assert ours < 0.7 * theirs


def test_trees_are_switched_on_where_one_cause_jumps() -> None:
    def jumps(rows: np.ndarray) -> np.ndarray:
        return rows @ TRUTH * np.where(rows[:, 1] > 5, 1.3, 1.0)

    rows, asked = rows_of(60, 0), rows_of(50, 9)
    found = StagedRegressor().fit(rows, noisy(jumps(rows), 0))
    alone = PhysicsRegressor().fit(rows, noisy(jumps(rows), 0))
    assert found.law_.trees is not None
    ours, theirs = (np.abs(m.predict(asked) / jumps(asked) - 1).mean() for m in (found, alone))
    assert ours < 0.7 * theirs


def test_a_prior_helps_where_rows_are_few_and_does_not_hurt_where_they_are_many() -> None:
    asked, like = rows_of(100, 9), 3.0 * TRUTH * [1.1, 0.9, 1.0]
    errors = {}
    for n in (4, 200):
        for prior in (None, like):
            found = [
                np.abs(
                    PhysicsRegressor(prior).fit(rows, noisy(rows @ TRUTH, seed)).predict(asked)
                    / (asked @ TRUTH)
                    - 1
                ).mean()
                for seed in range(10)
                for rows in [rows_of(n, seed)]
            ]
            errors[n, prior is None] = np.mean(found)
    assert errors[4, False] < errors[4, True]
    assert errors[200, False] < 1.5 * errors[200, True]


def test_intervals_hold_what_they_say() -> None:
    held = []
    for seed in range(20):
        rows, asked = rows_of(16, seed), rows_of(40, 100 + seed)
        found = StagedRegressor(coverage=0.8).fit(rows, noisy(rows @ TRUTH, seed))
        lower, upper = found.predict_interval(asked)
        measured = noisy(asked @ TRUTH, 100 + seed)
        held.append(((lower <= measured) & (measured <= upper)).mean())
    assert 0.75 < np.mean(held) < 0.93


def test_rows_that_err_to_both_sides_are_doubted_alike() -> None:
    rng = np.random.default_rng(0)
    rows, asked = rows_of(80, 0), rows_of(50, 9)
    off = np.where(rng.random(80) < 0.4, rng.choice([0.7, 0.8, 1.25, 1.4], 80), 1.0)
    ms = noisy(rows @ TRUTH, 0) * off
    found, alone = StagedRegressor().fit(rows, ms), PhysicsRegressor().fit(rows, ms)
    ours, theirs = (np.abs(m.predict(asked) / (asked @ TRUTH) - 1).mean() for m in (found, alone))
    assert ours < 0.7 * theirs

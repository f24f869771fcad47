import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.regression import fit_averaged, fit_non_negative, leave_one_out


def problem(seed: int, n: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = np.column_stack([np.ones(n), rng.uniform(0, 100, n), rng.uniform(0, 0.01, n)])
    truth = np.array([0.3, 0.02, 40.0])
    return features, truth, features @ truth


@given(seed=st.integers(0, 1000), unit=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_exact_data_give_the_true_coefficients_in_any_unit(seed: int, unit: float) -> None:
    features, truth, ms = problem(seed)
    np.testing.assert_allclose(fit_non_negative(features, unit * ms), unit * truth, rtol=1e-3)


@given(seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_coefficients_are_never_negative(seed: int) -> None:
    features, _, _ = problem(seed)
    ms = np.random.default_rng(seed).uniform(0.1, 10, len(features))
    assert (fit_non_negative(features, ms) >= 0).all()


def test_slow_outliers_pull_less_than_plain_least_squares() -> None:
    features, _, ms = problem(1)
    rng = np.random.default_rng(2)
    disturbed = ms * np.exp(rng.normal(0, 0.005, len(ms)))
    disturbed[::5] *= 1.8
    robust = features @ fit_non_negative(features, disturbed)
    plain = (
        features @ np.linalg.lstsq(features / disturbed[:, None], np.ones(len(ms)), rcond=None)[0]
    )
    error = np.abs(robust / ms - 1).max()
    assert error < 0.02
    assert error < np.abs(plain / ms - 1).max() / 2


def test_one_point_is_not_believed_against_the_rest_when_slow() -> None:
    features, _, ms = problem(3)
    slow, fast = ms.copy(), ms.copy()
    slow[0] *= 1.03
    fast[0] /= 1.03
    moved_by = [
        np.abs(features @ fit_non_negative(features, changed) / ms - 1).mean()
        for changed in (slow, fast)
    ]
    assert moved_by[0] < moved_by[1]


def test_collinear_columns_are_harmless() -> None:
    features, _, ms = problem(4)
    doubled = np.column_stack([features, features[:, 1] * 3])
    np.testing.assert_allclose(doubled @ fit_non_negative(doubled, ms), ms, rtol=1e-3)


def test_leave_one_out_does_not_see_the_row_it_predicts() -> None:
    features, _, ms = problem(5, n=12)
    before = leave_one_out(features, ms)
    changed = ms.copy()
    changed[3] *= 5
    assert leave_one_out(features, changed)[3] == before[3]
    assert before == pytest.approx(ms, rel=1e-3)


def test_averaged_fits_are_nearer_the_truth_where_causes_are_alike() -> None:
    errors = {fit_averaged: [], fit_non_negative: []}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        causes = rng.exponential(size=(66, 1)) + 0.3 * rng.exponential(size=(66, 12))
        truth = rng.exponential(size=12) * (rng.random(12) < 0.6)
        ms = causes[:16] @ truth * np.exp(rng.normal(0, 0.05, 16))
        for fit, found in errors.items():
            found.append(
                np.abs(causes[16:] @ fit(causes[:16], ms) / (causes[16:] @ truth) - 1).mean()
            )
    averaged, single = (np.mean(found) for found in errors.values())
    assert averaged < 0.95 * single


@pytest.mark.parametrize("n", [8, 12, 65])
def test_too_few_and_very_many_rows_are_fitted_once(n: int) -> None:
    rng = np.random.default_rng(0)
    causes = rng.exponential(size=(n, 3))
    ms = causes @ np.ones(3) * np.exp(rng.normal(0, 0.1, n))
    assert (fit_averaged(causes, ms) == fit_non_negative(causes, ms)).all()

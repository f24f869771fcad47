import numpy as np
import pytest

from predictors.conformal import HeldOut, conformal_spread


def test_spread_is_the_finite_sample_quantile() -> None:
    residuals = np.arange(1, 20) / 100 * np.where(np.arange(19) % 2, 1, -1)
    assert conformal_spread(residuals, np.zeros(19), 0.9) == pytest.approx(0.18)  # ⌈20·0.9⌉ = 18
    assert conformal_spread(residuals, np.zeros(19), 0.5) == pytest.approx(0.10)


@pytest.mark.parametrize("n", [8, 12, 16])
@pytest.mark.parametrize(("law", "least"), [("normal", 0.9), ("laplace", 0.9)])
def test_spread_of_few_rows_holds_new_residuals(n: int, law: str, least: float) -> None:
    draws = np.abs(getattr(np.random.default_rng(0), law)(scale=0.02, size=(4_000, n + 1)))
    spreads = np.array([conformal_spread(row[:n], np.zeros(n), 0.9) for row in draws])
    assert least <= (draws[:, n] <= spreads).mean() <= 0.996


def test_fewer_rows_are_trusted_less() -> None:
    spreads = [conformal_spread(np.full(n, 0.02), np.zeros(n), 0.9) for n in (8, 10, 12, 16, 18)]
    assert spreads == sorted(spreads, reverse=True)


def test_residuals_count_less_where_the_left_out_row_had_leverage() -> None:
    residuals = np.full(29, 0.1)
    assert conformal_spread(residuals, np.full(29, 0.75), 0.9) == pytest.approx(0.05)


def test_a_refinement_has_to_beat_chance_and_the_noise_of_a_measurement() -> None:
    rng, measured = np.random.default_rng(0), np.ones(16)
    simple = HeldOut(1 + rng.normal(0, 0.03, 16), measured)
    finer = HeldOut(1 + (simple.predicted - 1) / 2, measured)
    lucky = HeldOut(np.append(simple.predicted[:-1], 1.0), measured)
    exact = HeldOut(1 + 1e-5 * rng.normal(size=16), measured)
    assert finer.clearly_beats(simple)
    assert not lucky.clearly_beats(simple)
    assert not simple.clearly_beats(simple)
    assert not HeldOut(measured, measured).clearly_beats(exact)


def test_a_fit_that_stays_below_is_calibrated_by_the_other_rows() -> None:
    rng = np.random.default_rng(0)
    measured = rng.uniform(1, 5, 20)
    below = HeldOut(measured / 1.1 * np.exp(rng.normal(0, 0.01, 20)), measured)
    assert below.ratio == pytest.approx(1.1, rel=0.01)
    assert below.calibrated().clearly_beats(below)
    assert below.calibrated().error < 0.015
    even = HeldOut(measured * np.exp(rng.normal(0, 0.01, 20)), measured)
    assert not even.calibrated().clearly_beats(even)

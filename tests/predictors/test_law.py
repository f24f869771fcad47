import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.features import Array
from predictors.law import LatencyLaw
from predictors.regressors import StagedRegressor
from predictors.trees import Trees, fit_trees
from predictors.utilisation import Utilisation, fit_utilisation


def data(seed: int, n: int) -> tuple[Array, Array]:
    """Rows whose time grows faster than their sum of causes, and jumps with one of them."""
    rng = np.random.default_rng(seed)
    rows = np.column_stack([np.ones(n), rng.uniform(0, 10, n), rng.uniform(0, 5, n)])
    ms = (rows @ [0.2, 0.1, 0.3]) ** 1.2 * np.where(rows[:, 2] > 3, 1.15, 1.0)
    return rows, ms * np.exp(rng.normal(0, 0.005, n))


@pytest.fixture(scope="module")
def law() -> LatencyLaw:
    rows, ms = data(0, 16)
    return StagedRegressor().fit(rows, ms).law_


@given(size=st.floats(0.1, 20), less=st.floats(1.01, 5), more=st.floats(1.01, 5))
@settings(max_examples=40, deadline=None)
def test_a_larger_budget_is_met_more_surely(law, size: float, less: float, more: float) -> None:
    row = np.array([[1.0, size, size / 2]])
    [ms] = law.milliseconds(row)
    at = [float(law.probability(row, b)[0]) for b in (ms / less, ms, ms * more)]
    assert at[0] <= 0.5 <= at[2]
    assert at[1] == pytest.approx(0.5)


def test_the_ends_of_the_interval_are_met_as_surely_as_it_says(law) -> None:
    row = np.array([[1.0, 4.0, 2.0]])
    lower, _, upper = (float(v[0]) for v in law.interval(row))
    assert law.probability(row, upper)[0] == pytest.approx(0.95)
    assert law.probability(row, lower)[0] == pytest.approx(0.05)


@given(seed=st.integers(0, 30), n=st.integers(1, 80))
@settings(max_examples=40, deadline=None)
def test_what_utilisation_predicts_never_falls(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(0.1, 50, n)
    table = fit_utilisation(predicted, predicted * np.exp(rng.normal(0, 0.5, n)))
    asked = np.geomspace(0.01, 500, 400)
    assert (np.diff(table(asked)) >= -1e-9 * asked[1:]).all()
    again = Utilisation.from_json(table.to_json())
    np.testing.assert_array_equal(again(asked), table(asked))


def test_utilisation_finds_what_goes_with_size() -> None:
    predicted = np.geomspace(1, 100, 80)
    table = fit_utilisation(predicted, predicted**1.1)
    inside = np.geomspace(2, 50, 20)
    np.testing.assert_allclose(table(inside), inside**1.1, rtol=0.1)


@given(seed=st.integers(0, 20), n=st.integers(2, 60), column=st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_what_trees_correct_never_falls_as_a_feature_grows(seed: int, n: int, column: int) -> None:
    rows, _ = data(seed, n)
    rng = np.random.default_rng(seed)
    trees = fit_trees(rows, rng.normal(0, 0.3, n))
    asked = np.repeat(rows[:1], 200, axis=0)
    asked[:, column] = np.linspace(0, 12, 200)
    assert (np.diff(trees(asked)) >= -1e-12).all()
    assert trees(asked).min() >= trees.least - 1e-12


def test_trees_are_scikit_learns_own() -> None:
    from sklearn.tree import DecisionTreeRegressor

    rows, ms = data(1, 60)
    logs = np.log(ms / ms.mean())
    trees = fit_trees(rows, logs)
    left = logs.copy()
    for _ in range(len(trees.values)):
        tree = DecisionTreeRegressor(
            max_depth=2, min_samples_leaf=6, monotonic_cst=[1, 1, 1], random_state=0
        ).fit(rows, left)
        left -= 0.1 * tree.predict(rows)
    np.testing.assert_allclose(np.log(trees(rows)), logs - left, atol=1e-9)
    again = Trees.from_json(trees.to_json())
    np.testing.assert_array_equal(again(rows), trees(rows))
    assert trees(rows[:0]).shape == (0,)

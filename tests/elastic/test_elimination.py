"""The closed forms against brute force."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import UsageError
from elastic.reconstruction.elimination import columns_of, damped, eliminate, refit

Array = np.ndarray[Any, Any]


def problem(units: int, inner: int, seed: int) -> tuple[Array, Array]:
    """Weights, and inputs whose units are mixtures of fewer causes."""
    rng = np.random.default_rng(seed)
    size = units * inner
    inputs = rng.normal(size=(200, size)) @ (np.eye(size) + 0.5 * rng.normal(size=(size, size)))
    return rng.normal(size=(5, size)), inputs


def best(weight: Array, inputs: Array, columns: Array) -> float:
    """The least relative error that any weights on ``columns`` reach."""
    wanted = inputs @ weight.T
    fitted, *_ = np.linalg.lstsq(inputs[:, columns], wanted, rcond=None)
    return float(np.square(wanted - inputs[:, columns] @ fitted).sum() / np.square(wanted).sum())


def worth(weight: Array, inputs: Array, order: Array, size: int) -> float:
    """The least error that any weights reach on the first ``size`` units of ``order``."""
    return best(weight, inputs, columns_of(order[:size], weight.shape[1] // len(order)))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(1, 3), st.integers(0, 99))
def test_refitted_weights_are_the_best_on_what_is_kept(units: int, inner: int, seed: int) -> None:
    weight, inputs = problem(units, inner, seed)
    gram = damped(inputs.T @ inputs / len(inputs))
    columns = columns_of(np.arange(units - 1), inner)
    found = refit(weight @ gram, gram, columns)
    apart = inputs @ weight.T - inputs[:, columns] @ found.T
    error = np.square(apart).sum() / np.square(inputs @ weight.T).sum()
    assert error == pytest.approx(best(weight, inputs, columns), abs=2e-3)


@pytest.mark.parametrize("seed", range(5))
def test_the_first_unit_to_go_is_the_cheapest(seed: int) -> None:
    weight, inputs = problem(5, 2, seed)
    order = eliminate(weight, inputs.T @ inputs / len(inputs), 5, (5, 4))
    assert sorted(order) == list(range(5))
    every = [
        best(weight, inputs, columns_of(np.array(kept), 2))
        for kept in itertools.combinations(range(5), 4)
    ]
    assert worth(weight, inputs, order, 4) == pytest.approx(min(every), abs=2e-3)


@pytest.mark.parametrize("seed", range(5))
def test_units_that_go_at_one_level_go_one_by_one(seed: int) -> None:
    weight, inputs = problem(12, 1, seed)
    inputs[:, 3] = inputs[:, 1] + 0.01 * inputs[:, 2]
    gram = inputs.T @ inputs / len(inputs)
    once = eliminate(weight, gram, 12, (12, 6, 3))
    each = eliminate(weight, gram, 12, range(12, 2, -1))
    assert once[3:].tolist() == each[3:].tolist()


def test_of_twins_one_goes_first_and_costs_nothing() -> None:
    weight, inputs = problem(4, 1, 0)
    inputs[:, 3] = inputs[:, 1]
    order = eliminate(weight, inputs.T @ inputs / len(inputs), 4, (4, 2))
    assert worth(weight, inputs, order, 3) == pytest.approx(0.0, abs=1e-3)
    assert len({1, 3} & {*order[:2].tolist()}) < 2


def test_fewer_inputs_than_columns_cannot_blow_it_up() -> None:
    rng = np.random.default_rng(0)
    weight, inputs = rng.normal(size=(4, 64)), rng.normal(size=(3, 64))
    gram = inputs.T @ inputs / 3
    order = eliminate(weight, gram, 16, (16, 8, 4))
    columns = columns_of(order[:8], 4)
    fitted = refit(weight @ damped(gram), damped(gram), columns)
    assert np.abs(fitted).max() < 100 * np.abs(weight).max()


def test_inputs_that_are_all_zero_are_worth_nothing() -> None:
    order = eliminate(np.ones((2, 6)), np.zeros((6, 6)), 3, (3, 1))
    assert sorted(order.tolist()) == [0, 1, 2]


def test_numbers_that_are_not_finite_are_refused() -> None:
    gram = np.eye(4)
    gram[0, 0] = np.nan
    with pytest.raises(UsageError, match="not finite"):
        eliminate(np.ones((2, 4)), gram, 4, (4, 2))

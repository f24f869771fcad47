import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import UsageError
from elastic.search.knapsack import Knapsack, cheapest, front


@st.composite
def problems(draw):
    """Errors and costs of up to five positions; errors are multiples of 1/8, so sums are exact."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    whole = st.integers(0, 40)
    errors, units = (
        [np.array(draw(st.lists(whole, min_size=n, max_size=n))) for n in lengths] for _ in range(2)
    )
    return [row / 8 for row in errors], units


def fitting(units, budget):
    every = itertools.product(*(range(len(row)) for row in units))
    return [choice for choice in every if total(units, choice) <= budget]


def total(rows, choice):
    return sum(row[i] for row, i in zip(rows, choice, strict=True))


@given(problems(), st.integers(0, 200))
def test_the_table_is_optimal_for_every_budget(problem, capacity) -> None:
    errors, units = problem
    knapsack = Knapsack(errors, units, capacity)
    for budget in {0, capacity // 3, capacity}:
        possible = fitting(units, budget)
        found = knapsack.decode(budget)
        if not possible:
            assert found is None
        else:
            assert found in possible
            least = min(total(errors, choice) for choice in possible)
            assert total(errors, found) == knapsack.least(budget) == least


@given(problems(), st.integers(0, 200))
def test_every_choice_that_fits_is_ranked_once(problem, budget) -> None:
    errors, units = problem
    found = list(Knapsack(errors, units, budget).ranked(budget))
    assert sorted(found) == fitting(units, budget)
    fallen = [total(errors, choice) for choice in found]
    assert fallen == sorted(fallen)


@given(problems())
def test_the_cheapest_costs_least_and_is_the_smallest_of_equals(problem) -> None:
    _, units = problem
    found = cheapest(SimpleNamespace(units=units))
    assert total(units, found) == sum(row.min() for row in units)
    for row, level in zip(units, found, strict=True):
        assert all(row[level] < value for value in row[level + 1 :])


@given(problems(), st.integers(1, 9))
def test_the_front_falls_in_error_and_ends_at_the_optimum(problem, points) -> None:
    errors, units = problem
    found = front(errors, SimpleNamespace(units=units), points)
    assert 1 <= len(found) == len(set(found)) <= points
    fallen = [total(errors, choice) for choice in found]
    assert fallen == sorted(fallen, reverse=True)
    assert fallen[-1] == sum(row.min() for row in errors)


def test_of_equal_errors_the_larger_module_is_kept() -> None:
    assert Knapsack([np.array([0.0, 0.0, 1.0])], [np.array([4, 2, 0])], 9).decode(9) == (0,)


def test_bert_large_at_full_resolution_is_exact_against_a_relaxation() -> None:
    rng = np.random.default_rng(0)
    units = [np.sort(rng.integers(0, 420, 20))[::-1] for _ in range(48)]
    errors = [np.sort(rng.exponential(size=20)) for _ in range(48)]
    budget = sum(int(row[0]) for row in units) // 2
    found = Knapsack(errors, units, budget).decode(budget)
    assert total(units, found) <= budget
    for price in np.geomspace(1e-4, 1e-1, 20):  # every multiplier bounds the optimum from below
        parts = (np.min(e + price * u) for e, u in zip(errors, units, strict=True))
        assert total(errors, found) >= sum(parts) - price * budget - 1e-9


def test_a_hundred_best_of_a_hundred_million_are_found_without_looking_at_all() -> None:
    rng = np.random.default_rng(0)
    blocks = [np.sort(rng.exponential(size=100)) for _ in range(4)]
    units = [rng.integers(0, 100, 100) for _ in range(4)]
    found = list(itertools.islice(Knapsack(blocks, units, 150).ranked(150), 100))
    assert len(set(found)) == 100
    pairs = [np.add.outer(blocks[i], blocks[i + 1]).ravel() for i in (0, 2)]
    costs = [np.add.outer(units[i], units[i + 1]).ravel() for i in (0, 2)]
    few = [np.argsort(pair)[:2000] for pair in pairs]
    sums = np.add.outer(pairs[0][few[0]], pairs[1][few[1]])
    fits = np.add.outer(costs[0][few[0]], costs[1][few[1]]) <= 150
    assert [total(blocks, choice) for choice in found] == pytest.approx(np.sort(sums[fits])[:100])


def test_costs_of_other_choices_are_refused() -> None:
    with pytest.raises(UsageError, match="same search space"):
        Knapsack([np.zeros(2)], [np.zeros(3, int)], 10)

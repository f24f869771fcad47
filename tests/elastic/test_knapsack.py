import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import UsageError
from elastic.search.knapsack import Knapsack, cheapest, decode, front


@dataclass
class Table:
    """The part of a CostTable that the decoding sees, with a law of its own for the upper end."""

    units: tuple[np.ndarray, ...]
    base: int = 3
    unit_ms: float = 0.5
    widening: float = 1.0
    surcharge: float = 0.0

    def budget_units(self, ms: float) -> int:
        return int(ms // self.unit_ms)

    def upper(self, choices) -> float:
        spent = self.base + sum(int(row[i]) for row, i in zip(self.units, choices, strict=True))
        dropped = sum(i == len(row) - 1 for row, i in zip(self.units, choices, strict=True))
        return self.widening * spent * self.unit_ms + self.surcharge * dropped


@st.composite
def problems(draw, **law):
    """Errors and costs of up to five positions; errors are multiples of 1/8, so sums are exact."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    whole = st.integers(0, 40)
    errors = [np.array(draw(st.lists(whole, min_size=n, max_size=n))) / 8 for n in lengths]
    units = [np.array(draw(st.lists(whole, min_size=n, max_size=n))) for n in lengths]
    return errors, Table(tuple(units), **{name: draw(value) for name, value in law.items()})


def all_choices(table: Table):
    return list(itertools.product(*(range(len(row)) for row in table.units)))


def error(errors, choice) -> float:
    return sum(row[i] for row, i in zip(errors, choice, strict=True))


def cost(table, choice) -> int:
    return sum(int(row[i]) for row, i in zip(table.units, choice, strict=True))


@given(problems(), st.integers(0, 200))
def test_the_table_is_optimal_for_every_budget(problem, capacity) -> None:
    errors, table = problem
    knapsack = Knapsack(errors, table.units, capacity)
    for budget in {0, capacity // 3, capacity}:
        fitting = [c for c in all_choices(table) if cost(table, c) <= budget]
        found = knapsack.decode(budget)
        if not fitting:
            assert found is None
        else:
            assert found in fitting
            assert error(errors, found) == min(error(errors, c) for c in fitting)


@given(problems(), st.floats(0, 120))
def test_decoding_is_exact_where_the_law_is_additive(problem, budget_ms) -> None:
    errors, table = problem
    fitting = [c for c in all_choices(table) if table.upper(c) <= budget_ms]
    found = decode(errors, table, budget_ms)
    if not fitting:
        assert found is None
    else:
        assert table.upper(found) <= budget_ms
        assert error(errors, found) == min(error(errors, c) for c in fitting)


@given(problems(widening=st.floats(1, 1.5), surcharge=st.floats(0, 3)), st.floats(0, 150))
def test_what_is_decoded_always_fits_at_its_upper_end(problem, budget_ms) -> None:
    errors, table = problem
    found = decode(errors, table, budget_ms)
    if found is not None:
        assert table.upper(found) <= budget_ms
    else:
        assert table.upper(cheapest(table)) > budget_ms


@given(problems(widening=st.floats(1, 1.5)), st.floats(0, 150))
def test_a_wider_interval_only_tightens_the_additive_budget(problem, budget_ms) -> None:
    errors, table = problem
    fitting = [c for c in all_choices(table) if table.upper(c) <= budget_ms]
    found = decode(errors, table, budget_ms)
    assert (found is None) == (not fitting)
    if fitting:
        assert error(errors, found) == min(error(errors, c) for c in fitting)


@given(problems())
def test_the_cheapest_costs_least_and_is_the_smallest_of_equals(problem) -> None:
    _, table = problem
    found = cheapest(table)
    assert cost(table, found) == min(cost(table, c) for c in all_choices(table))
    for row, level in zip(table.units, found, strict=True):
        assert all(row[level] < value for value in row[level + 1 :])


@given(problems(), st.integers(1, 9))
def test_the_front_falls_in_error_and_ends_at_the_optimum(problem, points) -> None:
    errors, table = problem
    found = front(errors, table, points)
    assert 1 <= len(found) == len(set(found)) <= points
    fallen = [error(errors, choice) for choice in found]
    assert fallen == sorted(fallen, reverse=True)
    assert fallen[-1] == sum(row.min() for row in errors)


def test_of_equal_errors_the_larger_module_is_kept() -> None:
    table = Table((np.array([4, 2, 0]),))
    assert decode([np.array([0.0, 0.0, 1.0])], table, 100.0) == (0,)


def test_bert_large_at_full_resolution_is_exact_against_a_relaxation() -> None:
    rng = np.random.default_rng(0)
    units = tuple(np.sort(rng.integers(0, 420, 20))[::-1] for _ in range(48))
    errors = [np.sort(rng.exponential(size=20)) for _ in range(48)]
    budget = sum(int(row[0]) for row in units) // 2
    found = Knapsack(errors, units, budget).decode(budget)
    assert cost(Table(units), found) <= budget
    for price in np.geomspace(1e-4, 1e-1, 20):  # every multiplier bounds the optimum from below
        parts = (np.min(e + price * u) for e, u in zip(errors, units, strict=True))
        assert error(errors, found) >= sum(parts) - price * budget - 1e-9


def test_tables_of_other_choices_are_refused() -> None:
    with pytest.raises(UsageError, match="same search space"):
        decode([np.zeros(2)], Table((np.zeros(3, int),)), 10.0)

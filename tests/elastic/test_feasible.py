import itertools
from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from elastic.search.feasible import Feasible, Limit
from elastic.search.knapsack import cheapest


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
        return float(self.predict_many(np.array([choices]))[2][0])

    def predict_many(self, choices):
        spent = self.base + sum(row[part] for row, part in zip(self.units, choices.T, strict=True))
        last = np.array([len(row) - 1 for row in self.units])
        dropped = (choices == last).sum(1)
        return None, None, self.widening * spent * self.unit_ms + self.surcharge * dropped


@st.composite
def problems(draw, tables=1, **law):
    """Errors of up to five positions, and tables of their costs; errors are multiples of 1/8, so sums are
    exact."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    whole = st.integers(0, 40)
    drawn = [
        [np.array(draw(st.lists(whole, min_size=n, max_size=n))) for n in lengths]
        for _ in range(1 + tables)
    ]
    laws = [{name: draw(value) for name, value in law.items()} for _ in range(tables)]
    errors = [row / 8 for row in drawn[0]]
    return errors, [Table(tuple(u), **some) for u, some in zip(drawn[1:], laws, strict=True)]


def fitting(limits):
    every = itertools.product(*(range(len(row)) for row in limits[0].table.units))
    return [c for c in every if all(limit.table.upper(c) <= limit.value for limit in limits)]


def error(errors, choice) -> float:
    return sum(row[i] for row, i in zip(errors, choice, strict=True))


def assert_optimal(errors, limit):
    """What is decoded is the best of all that fits, which is given back."""
    possible = fitting([limit])
    found = Feasible(limit).decode(errors)
    assert (found is None) == (not possible)
    if possible:
        assert error(errors, found) == min(error(errors, c) for c in possible)
    return possible


@given(problems(), st.floats(0, 120))
def test_decoding_is_exact_where_the_law_is_additive(problem, budget_ms) -> None:
    errors, [table] = problem
    limit = Limit(table, budget_ms)
    if possible := assert_optimal(errors, limit):
        ranked = list(Feasible(limit).ranked(errors))
        assert sorted(ranked) == sorted(possible)
        fallen = [error(errors, c) for c in ranked]
        assert fallen == sorted(fallen)


@given(problems(widening=st.floats(1, 1.5), surcharge=st.floats(0, 3)), st.floats(0, 150))
def test_what_is_decoded_always_fits_at_its_upper_end(problem, budget_ms) -> None:
    errors, [table] = problem
    found = Feasible(Limit(table, budget_ms)).decode(errors)
    if found is not None:
        assert table.upper(found) <= budget_ms
    else:
        assert table.upper(cheapest(table)) > budget_ms


@given(problems(widening=st.floats(1, 1.5)), st.floats(0, 150))
def test_a_wider_interval_only_tightens_the_additive_budget(problem, budget_ms) -> None:
    errors, [table] = problem
    assert_optimal(errors, Limit(table, budget_ms))


@given(
    problems(tables=3, widening=st.floats(1, 1.2)),
    st.lists(st.floats(5, 120), min_size=3, max_size=3),
)
def test_several_limits_are_all_kept(problem, values) -> None:
    errors, tables = problem
    limits = [Limit(*pair) for pair in zip(tables, values, strict=True)]
    found = list(itertools.islice(Feasible(*limits).ranked(errors), 20))
    assert len(set(found)) == len(found)
    assert set(found) <= set(fitting(limits))
    if found:
        assert Feasible(*limits).fits(np.array(found)).all()


def test_two_devices_of_opposite_taste_share_one_network() -> None:
    """One pays for the first half of the positions, one for the rest: the weights have to be balanced."""
    rng = np.random.default_rng(0)
    errors = [np.sort(rng.exponential(size=8)) for _ in range(12)]
    dear, cheap = np.arange(80, 0, -10), np.arange(8, 0, -1)
    one = Table(tuple([dear] * 6 + [cheap] * 6), base=0, unit_ms=1.0)
    other = Table(tuple([cheap] * 6 + [dear] * 6), base=0, unit_ms=1.0)
    limits = [Limit(one, 260.0), Limit(other, 180.0)]
    found = Feasible(*limits).decode(errors)
    assert one.upper(found) <= 260
    assert other.upper(found) <= 180
    alone = [error(errors, Feasible(limit).decode(errors)) for limit in limits]
    assert error(errors, found) <= 1.1 * sum(alone)  # each is about half of the errors
    assert error(errors, found) >= max(alone)

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import UsageError
from elastic.search.gibbs import Gibbs


@st.composite
def problems(draw):
    lengths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    weights = [np.array(draw(st.lists(st.floats(-3, 3), min_size=n, max_size=n))) for n in lengths]
    units = [np.array(draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))) for n in lengths]
    return weights, units


def law(weights, units, budget):
    """Every choice that fits, and its probability."""
    every = itertools.product(*(range(len(row)) for row in units))
    fits = [c for c in every if sum(u[i] for u, i in zip(units, c, strict=True)) <= budget]
    logs = np.array([sum(w[i] for w, i in zip(weights, c, strict=True)) for c in fits])
    total = np.logaddexp.reduce(logs) if fits else -np.inf
    return fits, np.exp(logs - total), total


@given(problems(), st.integers(0, 50))
def test_sums_and_marginals_are_those_of_all_that_fits(problem, budget) -> None:
    weights, units = problem
    fits, shares, total = law(weights, units, budget)
    gibbs = Gibbs(weights, units, 50)
    assert gibbs.log_sum(budget) == pytest.approx(total)
    if not fits:
        assert gibbs.sample(np.random.default_rng(0), budget) is None
        with pytest.raises(UsageError, match="No choice fits"):
            gibbs.marginals(budget)
        return
    for position, row in enumerate(gibbs.marginals(budget)):
        wanted = [shares[[c[position] == k for c in fits]].sum() for k in range(len(row))]
        assert row == pytest.approx(wanted)
    assert gibbs.sample(np.random.default_rng(0), budget) in fits


def test_samples_come_as_often_as_their_weights_say() -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=3) for _ in range(3)]
    units = [np.array([4, 2, 0])] * 3
    fits, shares, _ = law(weights, units, 6)
    gibbs = Gibbs(weights, units, 6)
    drawn = [gibbs.sample(rng, 6) for _ in range(4000)]
    counts = np.array([drawn.count(choice) for choice in fits])
    assert counts.sum() == 4000
    assert np.abs(counts / 4000 - shares).max() < 0.03


def test_a_weight_of_nothing_is_never_drawn() -> None:
    weights = [np.array([-np.inf, 0.0, 0.0])]
    gibbs = Gibbs(weights, [np.zeros(3, int)], 0)
    assert gibbs.marginals(0)[0] == pytest.approx([0, 0.5, 0.5])

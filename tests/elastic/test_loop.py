"""What the loop makes of a measurement; the loop as a whole is in tests/cutonce/test_search.py."""

from dataclasses import replace

import numpy as np
import pytest

from deploy.architecture import uniform
from deploy.workload import Workload
from devices.errors import BudgetUnreachable
from elastic.search import loop
from elastic.search.budget import Budget
from elastic.search.deployment import Deployed
from elastic.search.judge import Judge
from elastic.search.loop import Cut, Round
from elastic.space import SearchSpace
from predictors.predictor import LatencyPredictor
from profiler.measurement import Measurement
from profiler.visit import Visit

SPACE = SearchSpace.around(uniform(2, 64, 4, 256, vocabulary=50))
TARGET = Budget.parse("fake/fake/fp32=1ms").target
JUDGE = Judge(
    [np.arange(len(some), dtype=float) for some in SPACE.choices], lambda choice, _: sum(choice)
)


def took(ms: float, spread: float = 0.0) -> Measurement:
    """Nine visits; with ``spread`` two of three take longer by that share."""
    visits = tuple(Visit(float(i), (ms * (1 + spread * (i % 3 > 0)),) * 2) for i in range(9))
    return Measurement("c", TARGET, "f", SPACE.base, Workload(), "f32", visits)


def begun(text: str, dense: float) -> Cut:
    rng = np.random.default_rng(0)
    known = [SPACE.architecture(SPACE.sample(rng)) for _ in range(8)]
    ms = [0.1 + sum(getattr(op, "width", 64) for op in a.operators) / 100 for a in known]
    predictor = LatencyPredictor().fit(known, [Workload()] * 8, ms)
    table = predictor.table(SPACE.base, SPACE.choices, Workload())
    return loop._begin(Budget.parse(text), table, JUDGE, Deployed(took(dense), 1000), SPACE)


def test_a_miss_tightens_and_slack_widens_what_is_allowed() -> None:
    cut = begun("fake/fake/fp32=4ms", dense=8.0)
    step = Round(cut.budget, (1,) * 4, (3.5, 3.8, 4.0), took(4.4), 500, took(8.0))
    cut.feed_back(step)
    assert not cut.done
    assert cut.allowed == pytest.approx(4.0 * loop.AIM * 4.0 / 4.4)
    cut.feed_back(replace(step, measurement=took(3.0)))
    assert not cut.done
    assert cut.allowed > 4.0
    cut.feed_back(replace(step, measurement=took(3.9)))
    assert cut.done


def test_the_fitting_network_of_least_error_is_chosen() -> None:
    cut = begun("fake/fake/fp32=4ms", dense=8.0)
    steps = [
        Round(cut.budget, (level,) * 4, (1.0, 1.0, 1.0), took(ms), 500, took(8.0))
        for level, ms in ((1, 4.1), (2, 3.9), (3, 3.0))
    ]
    for step in steps:
        cut.feed_back(step)
    assert cut.chosen is steps[1]
    cut.rounds = steps[:1]
    assert cut.chosen is steps[0]
    assert not steps[0].fits


def test_a_relative_budget_is_judged_beside_the_dense_model() -> None:
    cut = begun("fake/fake/fp32=0.5x", dense=8.0)
    slow = Round(cut.budget, (1,) * 4, (1.0, 1.0, 1.0), took(4.7), 500, took(9.6))
    assert slow.limit == pytest.approx(4.8)
    assert slow.fits
    assert slow.speedup == pytest.approx(9.6 / 4.7)


def test_a_fraction_surely_fits_where_that_of_both_measurements_does() -> None:
    cut = begun("fake/fake/fp32=0.5x", dense=8.0)
    close = Round(cut.budget, (1,) * 4, (1.0, 1.0, 1.0), took(3.95), 500, took(8.0, spread=0.05))
    assert close.fits
    assert not close.surely  # the dense model may be quicker than it was
    assert replace(close, measurement=took(3.7)).surely


def test_the_dense_model_is_kept_where_it_fits() -> None:
    cut = begun("fake/fake/fp32=9ms", dense=8.0)
    assert cut.done
    assert cut.chosen.choice == SPACE.dense


def test_drift_matters_to_absolute_budgets_alone() -> None:
    said: list[str] = []
    for text in ("fake/fake/fp32=4ms", "fake/fake/fp32=0.5x"):
        budget = Budget.parse(text)
        before, after = (Deployed(took(ms), 1000) for ms in (1.0, 1.3))
        loop._check_drift([budget], {TARGET: before}, {TARGET: after}, said.append)
    assert len(said) == 1
    assert "1.30 times" in said[0]


def test_a_fit_that_noise_may_undo_is_not_the_end() -> None:
    cut = begun("fake/fake/fp32=4ms", dense=8.0)
    close = Round(cut.budget, (1,) * 4, (1.0, 1.0, 1.0), took(3.95, spread=0.05), 500, took(8.0))
    assert close.fits
    assert not close.surely
    cut.feed_back(close)
    assert not cut.done
    sure = replace(close, choice=(2,) * 4, measurement=took(3.9))
    cut.feed_back(sure)
    assert cut.done
    assert cut.chosen is sure


def test_a_budget_out_of_reach_is_said_and_the_others_stay() -> None:
    said: list[str] = []
    cuts = [begun("fake/fake/fp32=4ms", dense=8.0) for _ in range(2)]
    cuts[1].allowed = 0.0
    assert loop._reachable(cuts, said.append) == cuts[:1]
    assert "fastest reachable" in said[0]
    with pytest.raises(BudgetUnreachable, match="fastest reachable"):
        loop._reachable(cuts[1:], said.append)
    with pytest.raises(BudgetUnreachable, match="None of the budgets"):
        loop._reachable(cuts[1:] * 2, said.append)

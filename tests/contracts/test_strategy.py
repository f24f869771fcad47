"""What every strategy must do."""

import json
import math

import numpy as np
import pytest

from deploy.architecture import uniform
from deploy.costs import macs
from deploy.workload import Workload
from elastic.search.feasible import Feasible, Limit
from elastic.search.strategies import STRATEGIES
from elastic.space import SearchSpace
from predictors.predictor import LatencyPredictor

SPACE = SearchSpace.around(uniform(3, 64, 2, 256, vocabulary=50), width_levels=3)
ERRORS = [np.linspace(0, 1 + p % 3, len(some)) ** 2 for p, some in enumerate(SPACE.choices)]


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    known = [SPACE.architecture(SPACE.sample(rng)) for _ in range(20)]
    ms = [(0.1 + macs(a, Workload()) / 1e7) * rng.normal(1, 0.02) for a in known]
    predictor = LatencyPredictor().fit(known, [Workload()] * len(known), ms)
    return predictor.table(SPACE.base, SPACE.choices, Workload())


@pytest.fixture
def budgets(table):
    whole = table.predict(SPACE.dense)[1]
    return [Feasible(Limit(table, share * whole)) for share in (0.7, 0.4)]


@pytest.fixture(params=list(STRATEGIES))
def make(request, budgets):
    return lambda some=budgets: STRATEGIES.get(request.param)(ERRORS, some, seed=0)


def loss(choice) -> float:
    """Pairs of deep cuts cost more than their sum."""
    alone = sum(row[k] for row, k in zip(ERRORS, choice, strict=True))
    return alone + 0.3 * alone**2


def run(strategy, asked: int, budgets=(0, 1)) -> list:
    found = []
    for number in range(asked):
        choice = strategy.ask(budgets[number % len(budgets)])
        if choice is not None:
            strategy.tell(choice, loss(choice))
            found.append((budgets[number % len(budgets)], choice))
    return found


def test_what_is_asked_for_keeps_its_budget_and_was_not_told(make, budgets) -> None:
    strategy = make()
    found = run(strategy, 40)
    assert len({choice for _, choice in found}) == len(found) >= 6
    assert len(found) >= 20 or strategy.ask(0) is strategy.ask(1) is None
    for budget, choice in found:
        assert budgets[budget].fits(np.array([choice])).all()


def test_the_best_are_of_least_loss_and_keep_the_budget(make, budgets) -> None:
    strategy = make()
    assert strategy.best() == []
    run(strategy, 30)
    for budget in (0, 1):
        told = [c for c in strategy.losses if budgets[budget].fits(np.array([c])).all()]
        assert strategy.best(budget, 3) == sorted(told, key=loss)[:3]


def test_what_failed_is_neither_asked_for_again_nor_best(make) -> None:
    strategy = make()
    failed = [strategy.ask()]
    strategy.tell(failed[0], math.nan)
    found = [choice for _, choice in run(strategy, 20, budgets=(0,))]
    assert failed[0] not in found
    assert failed[0] not in strategy.best(0, 99)
    assert math.isnan(strategy.losses[failed[0]])


@pytest.mark.parametrize("asked", [0, 1, 9])
def test_a_kept_state_goes_on_as_if_nothing_had_been(make, asked) -> None:
    whole, part = make(), make()
    run(whole, asked)
    run(part, asked)
    resumed = make()
    resumed.restore(json.loads(json.dumps(part.state())))
    assert run(resumed, 12) == run(whole, 12)
    assert resumed.losses == whole.losses


def test_same_seed_same_choices(make) -> None:
    assert run(make(), 15) == run(make(), 15)


def test_a_budget_below_everything_has_no_choice(make, budgets, table) -> None:
    strategy = make([Feasible(Limit(table, 1e-6)), budgets[0]])
    assert strategy.ask(0) is None
    assert strategy.ask(1) is not None

"""Planner on devices whose law is known."""

import math

import numpy as np
import pytest

from deploy.workload import Workload
from devices.errors import UsageError
from predictors.planner import Planner
from predictors.planning import DETERMINED

WORKLOAD = Workload(1, 64)
pytestmark = pytest.mark.usefixtures("few_fits")


@pytest.fixture(scope="module")
def pool(encoders):
    return encoders(0, 120)


def run(planner: Planner, machine, pool, rounds: int) -> list[int]:
    asked = []
    for _ in range(rounds):
        for index in planner.ask(2):
            asked.append(index)
            [ms] = machine.measure([pool[index]], [WORKLOAD])
            planner.tell(index, ms)
    return asked


def test_each_candidate_is_asked_for_once(device, pool) -> None:
    some = [*pool[:15], *pool[:3]]
    planner = Planner(some, WORKLOAD, "fp32")
    asked = run(planner, device(0), some, 12)
    assert len(asked) == len({some[i] for i in asked}) == len(set(some))
    assert planner.ask(3) == []


def test_after_the_first_it_goes_where_a_budget_is(device, pool) -> None:
    machine = device(1)
    every = np.array([machine.exact(a, WORKLOAD) for a in pool])
    budget = float(np.quantile(every, 0.4))
    planner = Planner(pool, WORKLOAD, "fp32", budgets=[budget])
    asked = run(planner, machine, pool, DETERMINED // 2 + 4)
    later = every[asked[DETERMINED:]]
    assert np.abs(np.log(later / budget)).max() < 0.35
    assert np.abs(np.log(every[asked[:DETERMINED]] / budget)).max() > 0.35


def test_it_says_when_it_is_enough_and_means_it(device, pool) -> None:
    machine = device(2)
    machine.noise = 0.003
    planner = Planner(pool, WORKLOAD, "fp32")
    assert planner.enough() is None
    for _ in range(30):
        if planner.enough():
            break
        run(planner, machine, pool, 1)
    said = planner.enough()
    assert said is not None
    assert "over typical candidates" in said
    predicted = planner.predictor().predict(pool, [WORKLOAD] * len(pool))
    exact = np.array([machine.exact(a, WORKLOAD) for a in pool])
    assert np.median(np.abs(predicted / exact - 1)) < 0.03


def test_noise_is_never_enough(device, pool) -> None:
    machine = device(3)
    machine.noise = 0.2
    planner = Planner(pool, WORKLOAD, "fp32")
    run(planner, machine, pool, 10)
    assert planner.enough() is None


def test_same_answers_same_questions(device, pool) -> None:
    first, again = (
        run(Planner(pool, WORKLOAD, "fp32", seed=4), device(4), pool, 9) for _ in range(2)
    )
    assert first == again


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_impossible_times_are_refused(pool, bad: float) -> None:
    with pytest.raises(UsageError, match="positive number"):
        Planner(pool, WORKLOAD, "fp32").tell(0, bad)
    with pytest.raises(UsageError, match="positive number"):
        Planner(pool, WORKLOAD, "fp32", budgets=[bad])
    with pytest.raises(UsageError, match="no candidate 120"):
        Planner(pool, WORKLOAD, "fp32").tell(120, 1.0)

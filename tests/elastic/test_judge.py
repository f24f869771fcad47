from __future__ import annotations

import numpy as np
import pytest

from deploy.architecture import uniform
from deploy.workload import Workload
from elastic.search.feasible import Feasible, Limit
from elastic.search.judge import FEW, Judge, proposals
from elastic.search.knapsack import cheapest
from elastic.search.strategies.natural_gradient import POWERS
from elastic.space import Choice, SearchSpace
from predictors.cost_table import CostTable
from predictors.predictor import LatencyPredictor

SPACE = SearchSpace.around(uniform(4, 64, 4, 256, vocabulary=50))
# What is cut by a share s of a sub-layer costs s squared, so that many thin cuts seem the best.
ERRORS = [np.linspace(0, 1, len(some)) ** 2 for some in SPACE.choices]


@pytest.fixture(scope="module")
def table() -> CostTable:
    rng = np.random.default_rng(0)
    known = [SPACE.architecture(SPACE.sample(rng)) for _ in range(12)]
    ms = [0.1 + sum(getattr(op, "width", 64) for op in a.operators) / 100 for a in known]
    predictor = LatencyPredictor().fit(known, [Workload()] * len(known), ms)
    return predictor.table(SPACE.base, SPACE.choices, Workload())


def half(table: CostTable) -> float:
    return table.predict(SPACE.dense)[1] / 2


def total(choice: Choice, power: float) -> float:
    return float(sum(row[level] ** power for row, level in zip(ERRORS, choice, strict=True)))


@pytest.mark.parametrize("power", POWERS)
def test_the_sum_that_holds_is_found(table: CostTable, power: float) -> None:
    judge = Judge(ERRORS, lambda choice, _: total(choice, power))
    found = judge.decode(table, half(table))
    assert found is not None
    assert table.upper(found) <= half(table)
    alone = [Feasible(Limit(table, half(table))).decode([row**p for row in ERRORS]) for p in POWERS]
    assert judge.error(found) <= min(total(choice, power) for choice in alone if choice)


def test_every_proposal_fits(table: CostTable) -> None:
    for choice in proposals(ERRORS, table, half(table)):
        assert table.upper(choice) <= half(table)


def test_every_depth_is_proposed_down_to_the_one_that_needs_no_other_cut(table: CostTable) -> None:
    least = cheapest(table)
    dropped = []
    for choice in list(proposals(ERRORS, table, half(table)))[len(POWERS) :]:
        same = [one == other for one, other in zip(reversed(choice), reversed(least), strict=True)]
        dropped.append(same.index(False))
    assert dropped == sorted(dropped)
    kept = len(least) - dropped[-1]
    assert choice == (0,) * kept + least[kept:]
    assert table.upper((0,) * (kept + 1) + least[kept + 1 :]) > half(table)


def test_the_last_sub_layers_go_where_that_is_best(table: CostTable) -> None:
    *_, last = proposals(ERRORS, table, half(table))
    judge = Judge(ERRORS, lambda choice, _: float(choice != last))
    assert judge.decode(table, half(table)) == last


def test_a_few_texts_choose_who_is_judged_on_all(table: CostTable) -> None:
    asked: dict[int, list[Choice]] = {}

    def joint(choice: Choice, every: int) -> float:
        asked.setdefault(every, []).append(choice)
        return total(choice, 1.0)

    found = Judge(ERRORS, joint, evaluations=0).decode(table, half(table))
    glanced, looked = (asked[every] for every in sorted(asked, reverse=True))
    assert len(glanced) > len(looked) == FEW
    assert looked == sorted(glanced, key=lambda choice: total(choice, 1.0))[:FEW]
    assert found == looked[0]


def test_smaller_powers_cut_fewer_sub_layers(table: CostTable) -> None:
    cut = []
    for power in POWERS:
        choice = Feasible(Limit(table, half(table))).decode([row**power for row in ERRORS])
        assert choice is not None
        cut.append(np.count_nonzero(choice))
    assert cut == sorted(cut, reverse=True)
    assert cut[-1] < cut[0]


def test_each_choice_is_judged_once(table: CostTable) -> None:
    asked: list[tuple[Choice, int]] = []

    def joint(choice: Choice, every: int) -> float:
        asked.append((choice, every))
        return total(choice, 1.0)

    judge = Judge(ERRORS, joint)
    assert judge.decode(table, half(table)) == judge.decode(table, half(table))
    assert len(asked) == len({*asked})


def test_a_limit_below_everything_is_answered_by_none(table: CostTable) -> None:
    assert Judge(ERRORS, lambda *_: 0.0).decode(table, 1e-6) is None


def test_the_natural_gradient_finds_what_no_sum_proposes(table: CostTable) -> None:
    """Cuts of neighbours cost much more together, of others what they cost alone."""

    def joint(choice: Choice, _: int) -> float:
        cut = np.array([row[level] for row, level in zip(ERRORS, choice, strict=True)])
        return float(cut.sum() + 4 * cut[:-1] @ cut[1:])

    found = {}
    for evaluations in (0, 24):
        judge = Judge(ERRORS, joint, evaluations=evaluations)
        choice = judge.decode(table, half(table))
        assert choice is not None
        assert table.upper(choice) <= half(table)
        found[evaluations] = judge.error(choice)
    assert found[24] < 0.97 * found[0]


def test_what_one_budget_taught_serves_the_next(table: CostTable) -> None:
    asked: list[Choice] = []

    def joint(choice: Choice, _: int) -> float:
        asked.append(choice)
        return total(choice, 1.0)

    judge = Judge(ERRORS, joint)
    for share in (1.0, 0.9, 1.0):
        found = judge.decode(table, share * half(table))
        inside = [choice for choice in asked if table.upper(choice) <= share * half(table)]
        assert found is not None
        assert judge.error(found) == min(total(choice, 1.0) for choice in inside)

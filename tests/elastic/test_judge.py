from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest

from deploy.architecture import uniform
from deploy.workload import Workload
from devices.errors import ModelError
from elastic.search.feasible import Feasible, Limit
from elastic.search.judge import AGAIN, FEW, SEARCH, TURNS, Judge, proposals
from elastic.search.knapsack import cheapest
from elastic.search.strategies.prior import POWERS
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


def half(table: CostTable, share: float = 1.0) -> Feasible:
    return Feasible(Limit(table, share * table.predict(SPACE.dense)[1] / 2))


def total(choice: Choice, power: float) -> float:
    return float(sum(row[level] ** power for row, level in zip(ERRORS, choice, strict=True)))


@pytest.mark.parametrize("power", POWERS)
def test_the_sum_that_holds_is_found(table: CostTable, power: float) -> None:
    judge = Judge(ERRORS, lambda choice, _: total(choice, power))
    [found] = judge.decode([half(table)])
    assert found is not None
    assert half(table).fit(found)
    alone = [half(table).decode([row**p for row in ERRORS]) for p in POWERS]
    assert judge.error(found) <= min(total(choice, power) for choice in alone if choice)


def test_every_proposal_fits(table: CostTable) -> None:
    for choice in proposals(ERRORS, half(table)):
        assert half(table).fit(choice)


def test_every_depth_is_proposed_down_to_the_one_that_needs_no_other_cut(table: CostTable) -> None:
    least = cheapest(table)
    dropped = []
    for choice in list(proposals(ERRORS, half(table)))[len(POWERS) :]:
        same = [one == other for one, other in zip(reversed(choice), reversed(least), strict=True)]
        dropped.append(same.index(False))
    assert dropped == sorted(dropped)
    kept = len(least) - dropped[-1]
    assert choice == (0,) * kept + least[kept:]
    assert not half(table).fit((0,) * (kept + 1) + least[kept + 1 :])


def test_the_last_sub_layers_go_where_that_is_best(table: CostTable) -> None:
    *_, last = proposals(ERRORS, half(table))
    judge = Judge(ERRORS, lambda choice, _: float(choice != last))
    assert judge.decode([half(table)]) == [last]


def test_a_few_texts_choose_who_is_judged_on_more(table: CostTable) -> None:
    asked: dict[int, list[Choice]] = {}

    def joint(choice: Choice, every: int) -> float:
        asked.setdefault(every, []).append(choice)
        return total(choice, 1.0)

    [found] = Judge(ERRORS, joint, evaluations=0).decode([half(table)])
    glanced, *halvings = (asked[every] for every in sorted(asked, reverse=True))
    assert len(glanced) > FEW
    ranked = sorted(glanced, key=lambda choice: total(choice, 1.0))
    assert halvings == [ranked[:FEW], ranked[:FEW], ranked[: FEW // 2]]
    assert found == ranked[0]


def test_all_texts_decide_between_the_last(table: CostTable) -> None:
    """The few texts of the search are told the opposite of what holds."""

    def joint(choice: Choice, every: int) -> float:
        return total(choice, 1.0) * (1.0 if every > 1 else -1.0)

    judge = Judge(ERRORS, joint, evaluations=0)
    [found] = judge.decode([half(table)])
    order = sorted(judge.evaluated, key=judge.evaluated.__getitem__)
    assert found == order[1]


def test_smaller_powers_cut_fewer_sub_layers(table: CostTable) -> None:
    cut = []
    for power in POWERS:
        choice = half(table).decode([row**power for row in ERRORS])
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
    assert judge.decode([half(table)]) == judge.decode([half(table)])
    assert len(asked) == len({*asked})


def test_a_limit_below_everything_is_answered_by_none(table: CostTable) -> None:
    judge = Judge(ERRORS, lambda choice, _: total(choice, 1.0))
    found = judge.decode([Feasible(Limit(table, 1e-6)), half(table)])
    assert found[0] is None
    assert found[1] is not None


def test_the_natural_gradient_finds_what_no_sum_proposes(table: CostTable) -> None:
    """Cuts of neighbours cost much more together, of others what they cost alone."""

    def joint(choice: Choice, _: int) -> float:
        cut = np.array([row[level] for row, level in zip(ERRORS, choice, strict=True)])
        return float(cut.sum() + 4 * cut[:-1] @ cut[1:])

    found = {0: 0.0, 24: 0.0}
    for evaluations, seed in product(found, range(6)):
        judge = Judge(ERRORS, joint, evaluations=evaluations, seed=seed)
        [choice] = judge.decode([half(table)])
        assert choice is not None
        assert half(table).fit(choice)
        found[evaluations] += judge.error(choice)
    assert found[24] < 0.97 * found[0]


def test_what_one_budget_taught_serves_the_next(table: CostTable) -> None:
    asked: list[Choice] = []

    def joint(choice: Choice, _: int) -> float:
        asked.append(choice)
        return total(choice, 1.0)

    judge = Judge(ERRORS, joint)
    for share in (1.0, 0.9, 1.0):
        [found] = judge.decode([half(table, share)])
        inside = [choice for choice in asked if half(table, share).fit(choice)]
        assert found is not None
        assert judge.error(found) == min(total(choice, 1.0) for choice in inside)


def count_evaluations(table: CostTable, budgets: int) -> tuple[int, int]:
    """At first, and where the same are decoded again."""
    asked: list[Choice] = []

    def joint(choice: Choice, every: int) -> float:
        if every == SEARCH:
            asked.append(choice)
        return total(choice, 1.0)

    judge = Judge(ERRORS, joint)
    wanted = [half(table, share) for share in np.linspace(0.8, 1.2, budgets)]
    assert None not in judge.decode(wanted)
    first = len(asked)
    assert None not in judge.decode(wanted, again=True)
    return first, len(asked) - first


def test_twelve_budgets_share_what_two_would_evaluate(table: CostTable) -> None:
    one, twelve = (count_evaluations(table, budgets)[0] for budgets in (1, 12))
    assert 0 < one <= twelve <= 2 * one


def test_decoded_again_every_budget_has_its_turns_and_no_more(table: CostTable) -> None:
    (first, one), (_, twelve) = (count_evaluations(table, budgets) for budgets in (1, 12))
    assert 0 < one <= AGAIN < first
    assert twelve == 12 * TURNS


def test_an_evaluation_that_fails_is_left_out_and_counted(table: CostTable) -> None:
    failing: list[Choice] = []

    def joint(choice: Choice, every: int) -> float:
        if (choice[0] + choice[3]) % 3:
            return total(choice, 1.0)
        if every == SEARCH:
            failing.append(choice)
        return np.nan

    judge = Judge(ERRORS, joint)
    [found] = judge.decode([half(table)])
    assert found is not None
    assert found not in failing
    failed = [choice for choice, error in judge.evaluated.items() if np.isnan(error)]
    assert failed == failing != []


def test_a_search_of_which_every_evaluation_fails_is_refused(table: CostTable) -> None:
    with pytest.raises(ModelError, match="None of"):
        Judge(ERRORS, lambda *_: np.nan).decode([half(table)])


def test_what_training_was_for_is_looked_at(table: CostTable) -> None:
    chosen = tuple(max(1, len(row) - 2) for row in ERRORS)
    budget = Feasible(Limit(table, table.upper(chosen)))

    def joint(choice: Choice, _: int) -> float:
        return float(choice != chosen)

    assert Judge(ERRORS, joint, evaluations=0).decode([budget]) != [chosen]
    known = Judge(ERRORS, joint, evaluations=0, known=[chosen])
    assert known.decode([budget]) == [chosen]
    unlikely = [
        np.where(np.arange(len(row)) == level, 0.0, 9.0)
        for row, level in zip(ERRORS, chosen, strict=True)
    ]
    assert Judge(ERRORS, joint, evaluations=0, unlikely=unlikely).decode([budget]) == [chosen]


def test_seconds_take_in_what_evaluating_took_outside_of_the_decoding(table: CostTable) -> None:
    def joint(choice: Choice, _: int) -> float:
        time.sleep(0.001)
        return total(choice, 1)

    judge = Judge(ERRORS, joint)
    judge.error(cheapest(table))
    assert 0.001 <= judge.evaluating_seconds <= judge.seconds

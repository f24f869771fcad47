"""Decode, extract, deploy, measure, feed back: until what is measured keeps the budget.

The dynamic programme decodes against predictions; a prediction is off by a few per cent, so the
decoded network is exported and measured, and the limit that the next decoding is given moves by the
ratio of what was asked to what was measured: down after a miss, up where slack is worth using.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np

from devices.errors import BudgetUnreachable
from devices.target import Target
from elastic.search.budget import Bound, Budget, Constraint
from elastic.search.deployment import Deployed, Deployment
from elastic.search.feasible import Feasible, Limit
from elastic.search.judge import Judge
from elastic.search.knapsack import cheapest
from elastic.search.rounds import Cut, Round, Taken
from elastic.space import Choice, SearchSpace
from predictors.cost_table import CostTable
from predictors.predictor import LatencyPredictor

DRIFT = 0.05  # change of the dense model between campaigns that is worth a warning

Predictors = Mapping[tuple[Target, Bound], LatencyPredictor]
"""Of what every target takes of everything that is bounded there."""

Networks = Mapping[tuple[Target, Choice], Deployed]


def cut_to_budgets(
    deployment: Deployment,
    judge: Judge,
    predictors: Predictors,
    budgets: Sequence[Budget],
    *,
    rounds: int,
    warn: Callable[[str], None],
) -> list[Cut]:
    """One cut per budget, all measured side by side.

    Args:
        judge: of what is decoded.
        predictors: one per target and bound of the budgets.
        rounds: decodings per budget at most.
        warn: told of every budget that not even the cheapest sub-network is predicted to fit, which
            is left out, and when the dense model's own latency moves between campaigns.

    Raises:
        BudgetUnreachable: no budget can be reached.
    """
    space = deployment.space
    constraints = list(dict.fromkeys(c for budget in budgets for c in budget.constraints))
    tables = {
        key: predictors[key].table(space.base, space.choices, deployment.workload)
        for key in dict.fromkeys((c.target, c.bound) for c in constraints)
    }
    weighed = {c.target for c in constraints if c.bound == "memory"}
    dense = deployment.measure("dense", _dense(constraints, space), weighed)
    cuts = [_begin(budget, tables, judge, dense, space) for budget in budgets]
    cuts = _reachable(cuts, warn)
    for number in range(1, rounds + 1):
        steps = _next(judge, [cut for cut in cuts if not cut.done], again=number > 1)
        if not steps:
            break
        asked = [(c.target, choice) for cut, choice in steps for c in cut.budget.constraints]
        still = [c for cut, _ in steps for c in cut.budget.constraints]
        wanted = [*_dense(still, space), *asked]
        measured = deployment.measure(f"round {number}", wanted, weighed)
        _check_drift(constraints, space.dense, dense, measured, warn)
        for cut, choice in steps:
            cut.feed_back(_round(cut.budget, cut.tables, choice, measured, space))
    return cuts


def _dense(constraints: Sequence[Constraint], space: SearchSpace) -> list[tuple[Target, Choice]]:
    """The dense model on every target."""
    return [(target, space.dense) for target in dict.fromkeys(c.target for c in constraints)]


def _round(
    budget: Budget,
    tables: Sequence[CostTable],
    choice: Choice,
    measured: Networks,
    space: SearchSpace,
) -> Round:
    taken = (
        Taken(c, table.predict(choice), measured[c.target, choice], measured[c.target, space.dense])
        for c, table in zip(budget.constraints, tables, strict=True)
    )
    return Round(choice, tuple(taken))


def _begin(
    budget: Budget,
    tables: Mapping[tuple[Target, Bound], CostTable],
    judge: Judge,
    dense: Networks,
    space: SearchSpace,
) -> Cut:
    own = [tables[c.target, c.bound] for c in budget.constraints]
    start = _round(budget, own, space.dense, dense, space)
    # Decoded on the predictor's own scale: the machine may have been quicker or slower when it was
    # profiled than it was just now with the dense model.
    allowed = [taken.predicted[1] / taken.share for taken in start.taken]
    return Cut(budget, own, judge, start, allowed, done=start.fits)


def _reachable(cuts: Sequence[Cut], warn: Callable[[str], None]) -> list[Cut]:
    """The cuts whose budget some sub-network is predicted to fit; the others are said."""
    found = []
    for cut in cuts:
        sentence = None if cut.done else _obstacle(cut)
        if sentence is None:
            found.append(cut)
        elif len(cuts) == 1:
            raise BudgetUnreachable(sentence)
        else:
            warn(sentence)
    if not found:
        raise BudgetUnreachable("None of the budgets can be reached; see the warnings above.")
    return found


def _obstacle(cut: Cut) -> str | None:
    """Why no sub-network keeps the budget; None where one is predicted to."""
    for taken, table, allowed in zip(cut.start.taken, cut.tables, cut.allowed, strict=True):
        _, least, upper = table.predict(cheapest(table))
        if least > allowed:
            scale, unit = taken.measured / taken.predicted[1], taken.constraint.unit
            best = "fastest" if taken.constraint.is_latency else "smallest"
            return (
                f"No sub-network fits {taken.constraint.text} ({taken.limit:.3g} {unit}): the {best} "
                f"reachable is predicted at {scale * least:.3g} {unit}, at most {scale * upper:.3g} "
                f"{unit}; raise the budget to that, choose another target, or start from a smaller model."
            )
    limits = [Limit(*pair) for pair in zip(cut.tables, cut.allowed, strict=True)]
    alone = [_some(cut, limit) for limit in limits]
    if not all(alone) or _some(cut, *limits):
        return None
    pairs = combinations(zip(cut.budget.constraints, limits, strict=True), 2)
    contrary = [(one.text, other.text) for (one, a), (other, b) in pairs if not _some(cut, a, b)]
    names = " and ".join(contrary[0]) if contrary else "all of its limits"
    return (
        f"Budget {cut.budget.text} contradicts itself: sub-networks keep each of its limits, but none "
        f"was found that keeps {names}; raise one of them."
    )


def _some(cut: Cut, *limits: Limit) -> bool:
    """Whether any choice keeps the limits."""
    flat = [np.zeros(len(row)) for row in cut.table.units]
    return Feasible(*limits).decode(flat) is not None


def _next(judge: Judge, cuts: Sequence[Cut], *, again: bool) -> list[tuple[Cut, Choice]]:
    """Per cut the next network to measure; none where the decoding repeats itself."""
    found = []
    decoded = judge.decode([cut.feasible for cut in cuts], again=again)
    for cut, choice in zip(cuts, decoded, strict=True):
        network = cheapest(cut.table) if choice is None else choice
        cut.done = any(step.choice == network for step in cut.rounds)
        if not cut.done:
            found.append((cut, network))
    return found


def _check_drift(
    constraints: Sequence[Constraint],
    choice: Choice,
    before: Networks,
    after: Networks,
    warn: Callable[[str], None],
) -> None:
    """A limit in milliseconds means little while the machine's own speed moves; one relative to the
    dense model is judged beside it and stands."""
    absolute = dict.fromkeys(c.target for c in constraints if c.is_latency and not c.relative)
    for target in (target for target in absolute if (target, choice) in after):
        now, then = after[target, choice].measurement, before[target, choice].measurement
        moved = now.statistics.intrinsic / then.statistics.intrinsic
        if abs(moved - 1) > DRIFT:
            warn(
                f"On {target} the dense model took {moved:.2f} times as long as at the start: the "
                "machine's own speed moved; measure again when it is quieter before trusting a close "
                "call."
            )

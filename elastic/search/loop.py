"""Decode, extract, deploy, measure, feed back: until what is measured keeps the budget.

The dynamic programme decodes against predictions; a prediction is off by a few per cent, so the
decoded network is exported and measured, and the limit that the next decoding is given moves by the
ratio of what was asked to what was measured: down after a miss, up where slack is worth using. In the
end those networks are visited again that would be chosen if only it were sure that they fit: few
visits on a noisy machine leave much in doubt, and visits to these alone are cheap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations, groupby
from typing import NamedTuple

import numpy as np

from devices.errors import BudgetUnreachable
from devices.target import Target
from elastic.quality import Array, Quality
from elastic.search.budget import Bound, Budget, Constraint
from elastic.search.deployment import Deployed, Deployment
from elastic.search.feasible import Feasible, Limit
from elastic.search.knapsack import cheapest
from elastic.search.rounds import Cut, Round, Taken
from elastic.search.supernet import Network, Supernet
from predictors.cost_table import CostTable
from predictors.predictor import LatencyPredictor

CONFIRMATIONS = 3  # campaigns at most, of what would be chosen if only it surely fitted
DRIFT = 0.05  # change of the dense model between campaigns that is worth a warning

Predictors = Mapping[tuple[Target, Bound], LatencyPredictor]
"""Of what every target takes of everything that is bounded there."""

LabelLosses = Callable[[Network], Array | None]
"""What a network loses against labels; see :class:`elastic.quality.Quality`."""

Measured = Mapping[tuple[Target, Network], Deployed]


def cut_to_budgets(
    deployment: Deployment,
    supernets: Sequence[Supernet],
    predictors: Predictors,
    budgets: Sequence[Budget],
    *,
    label_losses: LabelLosses,
    rounds: int,
    warn: Callable[[str], None],
) -> list[Cut]:
    """One cut per budget, all measured side by side.

    Args:
        supernets: on the dense trunk first.
        predictors: one per target and bound of the budgets.
        label_losses: asked where a budget can be cut on supernets that were taught and others.
        rounds: decodings per budget at most.
        warn: told of every budget that not even the cheapest sub-network is predicted to fit, which
            is left out, and when the dense model's own latency moves between campaigns.

    Raises:
        BudgetUnreachable: no budget can be reached.
    """
    whole = supernets[0].dense
    constraints = list(dict.fromkeys(c for budget in budgets for c in budget.constraints))
    weighed = {c.target for c in constraints if c.bound == "memory"}
    dense = deployment.measure("dense", _beside(whole, constraints), weighed)

    @cache
    def table(supernet: Supernet, target: Target, bound: Bound) -> CostTable:
        space = supernet.space
        return predictors[target, bound].table(space.base, space.choices, deployment.workload)

    def measured(name: str, steps: Sequence[tuple[Cut, Network]]) -> Iterator[tuple[Cut, Round]]:
        """Every step's network beside the dense model, in one campaign."""
        asked = [(c.target, network) for cut, network in steps for c in cut.budget.constraints]
        still = [c for cut, _ in steps for c in cut.budget.constraints]
        if not steps:
            return
        found = deployment.measure(name, [*_beside(whole, still), *asked], weighed)
        _check_drift(constraints, whole, dense, found, warn)
        for cut, network in steps:
            yield cut, _round(cut.budget, cut.tables, network, found, whole)

    begun = [_begin(supernets, table, budget, dense) for budget in budgets]
    groups = _on_best_supernets(_reachable(begun, warn))
    cuts = [cut for group in groups for cut in group]
    for number in range(1, rounds + 1):
        again = number > 1 or len(supernets) > 1
        steps = _next([cut for cut in cuts if not cut.done], again=again)
        for cut, step in measured(f"round {number}", steps):
            cut.feed_back(step)
    for number in range(1, CONFIRMATIONS + 1):
        contenders = ((cut, cut.contender) for cut in cuts)
        steps = [(cut, step.network) for cut, step in contenders if step]
        for cut, step in measured(f"confirmation {number}", steps):
            cut.confirm(step)
    return [_better(group, label_losses) for group in groups]


def _beside(whole: Network, constraints: Sequence[Constraint]) -> list[tuple[Target, Network]]:
    """The dense model on every target."""
    return [(target, whole) for target in dict.fromkeys(c.target for c in constraints)]


def _round(
    budget: Budget,
    tables: Sequence[CostTable],
    network: Network,
    measured: Measured,
    whole: Network,
) -> Round:
    taken = (
        Taken(
            c, table.predict(network.choice), measured[c.target, network], measured[c.target, whole]
        )
        for c, table in zip(budget.constraints, tables, strict=True)
    )
    return Round(network, tuple(taken))


def _begin(
    supernets: Sequence[Supernet],
    table: Callable[[Supernet, Target, Bound], CostTable],
    budget: Budget,
    dense: Measured,
) -> list[Cut]:
    """The same budget on every trunk."""
    tables = [[table(some, c.target, c.bound) for c in budget.constraints] for some in supernets]
    start = _round(budget, tables[0], supernets[0].dense, dense, supernets[0].dense)
    # Decoded on the predictor's own scale: the machine may have been quicker or slower when it was
    # profiled than it was just now with the dense model.
    allowed = [taken.predicted[1] / taken.share for taken in start.taken]
    return [
        Cut(budget, some, own, start, [*allowed], done=start.fits)
        for some, own in zip(supernets, tables, strict=True)
    ]


def _reachable(begun: Sequence[list[Cut]], warn: Callable[[str], None]) -> list[list[Cut]]:
    """The cuts whose budget some sub-network is predicted to fit; budgets that have none are said."""
    found = []
    for cuts in begun:
        obstacles = [None if cut.done else _obstacle(cut) for cut in cuts]
        inside = [cut for cut, obstacle in zip(cuts, obstacles, strict=True) if obstacle is None]
        if inside:
            found.append(inside)
            continue
        nearest = max(filter(None, obstacles), key=lambda obstacle: obstacle.allowed)
        if len(begun) == 1:
            raise BudgetUnreachable(nearest.sentence)
        warn(nearest.sentence)
    if not found:
        raise BudgetUnreachable("None of the budgets can be reached; see the warnings above.")
    return found


def _on_best_supernets(groups: Sequence[list[Cut]]) -> list[list[Cut]]:
    """Of each budget's cuts the one on the supernet that decodes to the least error, and of those that
    were taught that one, too; one where the dense model fits."""
    if all(len(group) == 1 for group in groups):
        return [*groups]
    waiting = [cut for group in groups for cut in group if not cut.done]
    errors = {
        id(cut): math.inf if network is None else cut.judge.error(network.choice)
        for cut, network in _decoded(waiting, again=False)
    }

    def best(cuts: Iterable[Cut]) -> Cut:
        return min(cuts, key=lambda cut: errors[id(cut)])

    def kinds(group: list[Cut]) -> list[Cut]:  # what was taught comes last
        return [best(cuts) for _, cuts in groupby(group, key=lambda cut: cut.supernet.taught)]

    return [group[:1] if group[0].done else kinds(group) for group in groups]


def _better(cuts: Sequence[Cut], label_losses: LabelLosses) -> Cut:
    """Of one budget's cuts that of the better network; if one alone surely fits, that one."""
    sure = [cut for cut in cuts if cut.chosen.surely]
    best, *others = sure or [min(cuts, key=lambda cut: cut.chosen.share)]

    def quality(cut: Cut) -> Quality:
        network = cut.chosen.network
        return Quality(cut.judge.error(network.choice), label_losses(network))

    for other in others:
        best = other if quality(other).better_than(quality(best)) else best
    return best


def _decoded(cuts: Sequence[Cut], *, again: bool) -> Iterator[tuple[Cut, Network | None]]:
    """What every cut decodes to, those of one supernet together."""
    for supernet in dict.fromkeys(cut.supernet for cut in cuts):
        own = [cut for cut in cuts if cut.supernet is supernet]
        choices = supernet.judge.decode([cut.feasible for cut in own], again=again)
        for cut, choice in zip(own, choices, strict=True):
            yield cut, None if choice is None else Network(supernet, choice)


class _Obstacle(NamedTuple):
    """Why no sub-network of a trunk keeps a budget.

    Attributes:
        allowed: over the least that is reached; 1 where each limit is reached by itself.
    """

    allowed: float
    sentence: str


def _obstacle(cut: Cut) -> _Obstacle | None:
    """None where a sub-network is predicted to keep the budget."""
    for taken, table, allowed in zip(cut.start.taken, cut.tables, cut.allowed, strict=True):
        _, least, upper = table.predict(cheapest(table))
        if least > allowed:
            scale, unit = taken.measured / taken.predicted[1], taken.constraint.unit
            best = "fastest" if taken.constraint.is_latency else "smallest"
            return _Obstacle(
                allowed / least,
                f"No sub-network fits {taken.constraint.text} ({taken.limit:.3g} {unit}): the {best} "
                f"reachable is predicted at {scale * least:.3g} {unit}, at most {scale * upper:.3g} "
                f"{unit}; raise the budget to that, choose another target or start from a smaller model.",
            )
    limits = [Limit(*pair) for pair in zip(cut.tables, cut.allowed, strict=True)]
    alone = [_some(cut, limit) for limit in limits]
    if not all(alone) or _some(cut, *limits):
        return None
    pairs = combinations(zip(cut.budget.constraints, limits, strict=True), 2)
    contrary = [(one.text, other.text) for (one, a), (other, b) in pairs if not _some(cut, a, b)]
    names = " and ".join(contrary[0]) if contrary else "all of its limits"
    return _Obstacle(
        1.0,
        f"Budget {cut.budget.text} contradicts itself: sub-networks keep each of its limits, but none "
        f"was found that keeps {names}; raise one of them.",
    )


def _some(cut: Cut, *limits: Limit) -> bool:
    """Whether any choice keeps the limits."""
    flat = [np.zeros(len(row)) for row in cut.table.units]
    return Feasible(*limits).decode(flat) is not None


def _next(cuts: Sequence[Cut], *, again: bool) -> list[tuple[Cut, Network]]:
    """Per cut the next network to measure; none where that was measured already."""
    found = []
    for cut, decoded in _decoded(cuts, again=again):
        network = decoded or Network(cut.supernet, cheapest(cut.table))
        known = next((step for step in cut.rounds if step.network == network), None)
        if known is None:
            found.append((cut, network))
        else:
            cut.repeat(known)
    return found


def _check_drift(
    constraints: Sequence[Constraint],
    whole: Network,
    before: Measured,
    after: Measured,
    warn: Callable[[str], None],
) -> None:
    """A limit in milliseconds means little while the machine's own speed moves; one relative to the
    dense model is judged beside it and stands."""
    absolute = dict.fromkeys(c.target for c in constraints if c.is_latency and not c.relative)
    for target in (target for target in absolute if (target, whole) in after):
        now, then = after[target, whole].measurement, before[target, whole].measurement
        moved = now.statistics.intrinsic / then.statistics.intrinsic
        if abs(moved - 1) > DRIFT:
            warn(
                f"On {target} the dense model took {moved:.2f} times as long as at the start: the "
                "machine's own speed moved; measure again when it is quieter before trusting a close "
                "call."
            )

"""Decode, extract, deploy, measure, feed back: until the measured latency fits the budget.

The dynamic programme decodes against predictions; a prediction is off by a few per cent, so the
decoded network is exported and measured, and the limit that the next decoding is given moves by the
ratio of what was asked to what was measured: down after a miss, up where slack is worth using.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from devices.errors import BudgetUnreachable
from devices.target import Target
from elastic.search.budget import Budget, bounded
from elastic.search.deployment import Deployed, Deployment
from elastic.search.feasible import Feasible, Limit
from elastic.search.judge import Judge
from elastic.search.knapsack import cheapest
from elastic.search.strategies.natural_gradient import Certificate
from elastic.space import Choice, SearchSpace, chain_text
from predictors.cost_table import CostTable
from predictors.predictor import LatencyPredictor
from profiler.measurement import Measurement
from profiler.statistics import ratio

AIM = 0.97  # the share of the limit that a correction aims at, so that noise does not undo it
SLACK = 0.06  # unused share of the limit that is worth another round
DRIFT = 0.05  # change of the dense model between campaigns that is worth a warning


@dataclass(frozen=True)
class Round:
    """One network measured for one budget; milliseconds.

    Attributes:
        predicted: lower end, value and upper end of the prediction.
        measurement: of the network; ``size_bytes`` is that of its exported files.
        dense: the dense model, measured in the same campaign as ``measurement``.
    """

    budget: Budget
    choice: Choice
    predicted: tuple[float, float, float]
    measurement: Measurement
    size_bytes: int
    dense: Measurement

    @property
    def limit(self) -> float:
        """What the budget allows; where it is relative, relative to ``dense``."""
        return self.budget.limit(self.dense)

    @property
    def measured(self) -> float:
        """What the budget bounds."""
        return bounded(self.measurement, self.budget.bound)

    @property
    def fits(self) -> bool:
        return self.measured <= self.limit

    @property
    def surely(self) -> bool:
        """Whether it fits at the upper end of what was measured, so that another campaign would very
        likely find the same."""
        if self.budget.bound != "intrinsic":
            return self.fits
        if self.budget.relative:
            return ratio(self.dense.minima, self.measurement.minima)[2] <= self.budget.value
        return self.measurement.statistics.interval[1] <= self.limit

    @property
    def speedup(self) -> float:
        """How many times faster than the dense model, both measured side by side."""
        return self.dense.statistics.intrinsic / self.measurement.statistics.intrinsic

    def to_json(self, space: SearchSpace) -> dict[str, Any]:
        lower, ms, upper = self.predicted
        return {
            "chain": chain_text(space.chain(self.choice), space.base),
            "limit": self.limit,
            "predicted": ms,
            "lower": lower,
            "upper": upper,
            "measured": self.measured,
        }


@dataclass
class Cut:
    """The search for one budget.

    Attributes:
        judge: of what is decoded.
        start: the dense model as a round of its own.
        allowed: what the next decoding may be predicted to take, at the upper end.
        rounds: every network measured so far.
    """

    budget: Budget
    table: CostTable
    judge: Judge
    start: Round
    allowed: float
    rounds: list[Round] = field(default_factory=list)
    done: bool = False

    @property
    def keeps_dense(self) -> bool:
        return self.start.fits

    @property
    def chosen(self) -> Round:
        """The dense model where it fits; else of the rounds that surely fit the one of least joint
        error; else the round that takes the least share of its limit."""
        if self.keeps_dense:
            return self.start
        sure = [step for step in self.rounds if step.surely]
        if sure:
            return min(sure, key=lambda step: self.judge.error(step.choice))
        return min(self.rounds, key=lambda step: step.measured / step.limit)

    @property
    def certificate(self) -> Certificate | None:
        """What the search could still gain over the chosen network, among all that are predicted to be as
        fast; None where the dense model is kept."""
        if self.keeps_dense:
            return None
        return self.judge.certificate(
            Feasible(Limit(self.table, self.table.upper(self.chosen.choice)))
        )

    def feed_back(self, step: Round) -> None:
        """Move the allowance by what was measured; done when it fits without slack to use."""
        self.rounds.append(step)
        self.done = step.surely and step.measured >= (1 - SLACK) * step.limit
        self.allowed = step.predicted[2] * AIM * step.limit / step.measured


def cut_to_budgets(
    deployment: Deployment,
    judge: Judge,
    predictors: Mapping[Target, LatencyPredictor],
    budgets: Sequence[Budget],
    *,
    rounds: int,
    warn: Callable[[str], None],
) -> list[Cut]:
    """One cut per budget, all measured side by side.

    Args:
        judge: of what is decoded.
        predictors: one per target of the budgets.
        rounds: decodings per budget at most.
        warn: told of every budget that not even the cheapest sub-network is predicted to fit, which
            is left out, and when the dense model's own latency moves between campaigns.

    Raises:
        BudgetUnreachable: no budget can be reached.
    """
    space = deployment.space
    targets = list(dict.fromkeys(budget.target for budget in budgets))
    dense, _ = deployment.measure("dense", targets)
    tables = {
        t: predictors[t].table(space.base, space.choices, deployment.workload) for t in targets
    }
    cuts = [
        _begin(budget, tables[budget.target], judge, dense[budget.target], space)
        for budget in budgets
    ]
    cuts = _reachable(cuts, warn)
    for number in range(1, rounds + 1):
        steps = _next(judge, [cut for cut in cuts if not cut.done], again=number > 1)
        if not steps:
            break
        wanted = [(cut.budget.target, choice) for cut, choice in steps]
        still = [target for target in targets if any(target == key for key, _ in wanted)]
        beside, measured = deployment.measure(f"round {number}", still, wanted)
        _check_drift(budgets, dense, beside, warn)
        for (cut, choice), deployed in zip(steps, measured, strict=True):
            predicted = cut.table.predict(choice)
            reference = beside[cut.budget.target].measurement
            step = Round(
                cut.budget, choice, predicted, deployed.measurement, deployed.size_bytes, reference
            )
            cut.feed_back(step)
    return cuts


def _begin(
    budget: Budget, table: CostTable, judge: Judge, dense: Deployed, space: SearchSpace
) -> Cut:
    whole = dense.measurement
    start = Round(budget, space.dense, table.predict(space.dense), whole, dense.size_bytes, whole)
    # Decoded on the predictor's own scale: the machine may have been quicker or slower when it was
    # profiled than it was just now with the dense model.
    allowed = start.limit * start.predicted[1] / start.measured
    return Cut(budget, table, judge, start, allowed, done=start.fits)


def _reachable(cuts: Sequence[Cut], warn: Callable[[str], None]) -> list[Cut]:
    """The cuts whose budget some sub-network is predicted to fit; the others are said."""
    found = []
    for cut in cuts:
        _, ms, upper = cut.table.predict(cheapest(cut.table))
        if ms <= cut.allowed:
            found.append(cut)
            continue
        scale = cut.start.measured / cut.start.predicted[1]
        sentence = (
            f"No sub-network fits {cut.budget.text} ({cut.start.limit:.3g} ms): the fastest "
            f"reachable is predicted at {scale * ms:.3g} ms, at most {scale * upper:.3g} ms; raise "
            "the budget to that, choose a faster target, or start from a smaller model."
        )
        if len(cuts) == 1:
            raise BudgetUnreachable(sentence)
        warn(sentence)
    if not found:
        raise BudgetUnreachable("None of the budgets can be reached; see the warnings above.")
    return found


def _next(judge: Judge, cuts: Sequence[Cut], *, again: bool) -> list[tuple[Cut, Choice]]:
    """Per cut the next network to measure; none where the decoding repeats itself."""
    found = []
    wanted = [Feasible(Limit(cut.table, cut.allowed)) for cut in cuts]
    decoded = judge.decode(wanted, again=again)
    for cut, choice in zip(cuts, decoded, strict=True):
        network = cheapest(cut.table) if choice is None else choice
        cut.done = any(step.choice == network for step in cut.rounds)
        if not cut.done:
            found.append((cut, network))
    return found


def _check_drift(
    budgets: Sequence[Budget],
    before: Mapping[Target, Deployed],
    after: Mapping[Target, Deployed],
    warn: Callable[[str], None],
) -> None:
    """A limit in milliseconds means little while the machine's own speed moves; one relative to the
    dense model is judged beside it and stands."""
    absolute = dict.fromkeys(budget.target for budget in budgets if not budget.relative)
    for target in (target for target in absolute if target in after):
        now, then = after[target].measurement, before[target].measurement
        ratio = now.statistics.intrinsic / then.statistics.intrinsic
        if abs(ratio - 1) > DRIFT:
            warn(
                f"On {target} the dense model took {ratio:.2f} times as long as at the start: the "
                "machine's own speed moved; measure again when it is quieter before trusting a close "
                "call."
            )

"""What was measured of a network for a budget, and what the next decoding may be predicted to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from elastic.search.budget import Budget, Constraint
from elastic.search.deployment import Deployed
from elastic.search.feasible import Feasible, Limit
from elastic.search.judge import Judge
from elastic.search.strategies.natural_gradient import Certificate
from elastic.search.supernet import Network, Supernet
from predictors.cost_table import CostTable
from profiler.measurement import Measurement
from profiler.statistics import ratio

AIM = 0.97  # the share of the limit that a correction aims at, so that noise does not undo it
SLACK = 0.06  # unused share of the limit that is worth another round


@dataclass(frozen=True)
class Taken:
    """What a network takes of one constraint.

    Attributes:
        predicted: lower end, value and upper end of the prediction.
        deployed: the network. dense: the dense model, measured in the same campaign.
    """

    constraint: Constraint
    predicted: tuple[float, float, float]
    deployed: Deployed
    dense: Deployed

    @property
    def limit(self) -> float:
        """What is allowed; where it is relative, relative to ``dense``."""
        return self.constraint.limit(self.dense.amount(self.constraint.bound))

    @property
    def measured(self) -> float:
        """What is bounded."""
        return self.deployed.amount(self.constraint.bound)

    @property
    def share(self) -> float:
        """Of the limit."""
        return self.measured / self.limit

    @property
    def surely(self) -> bool:
        """Whether it fits at the upper end of what was measured, so that another campaign would very
        likely find the same."""
        if self.constraint.bound != "intrinsic":
            return self.share <= 1
        measurement, dense = self.deployed.measurement, self.dense.measurement
        if self.constraint.relative:
            return ratio(dense.minima, measurement.minima)[2] <= self.constraint.value
        return measurement.statistics.interval[1] <= self.limit

    def limit_json(self) -> dict[str, Any]:
        """What a sub-network remembers of the constraint."""
        return {
            "target": str(self.constraint.target),
            "bound": self.constraint.bound,
            "limit": self.limit,
            "fraction": self.constraint.value if self.constraint.relative else None,
        }

    def to_json(self) -> dict[str, Any]:
        lower, value, upper = self.predicted
        return {
            **self.limit_json(),
            "constraint": self.constraint.text,
            "unit": self.constraint.unit,
            "predicted": value,
            "lower": lower,
            "upper": upper,
            "measured": self.measured,
        }


@dataclass(frozen=True)
class Round:
    """One network measured for one budget.

    Attributes:
        taken: of every constraint, in the budget's order.
    """

    network: Network
    taken: tuple[Taken, ...]

    @property
    def first(self) -> Taken:
        """Of the latency on the target that the network is made for."""
        return self.taken[0]

    @property
    def measurement(self) -> Measurement:
        return self.first.deployed.measurement

    @property
    def share(self) -> float:
        """Of the limit that it takes most of."""
        return max(taken.share for taken in self.taken)

    @property
    def fits(self) -> bool:
        return self.share <= 1

    @property
    def surely(self) -> bool:
        return all(taken.surely for taken in self.taken)

    @property
    def speedup(self) -> float:
        """How many times faster than the dense model, both measured side by side."""
        dense = self.first.dense.measurement.statistics.intrinsic
        return dense / self.measurement.statistics.intrinsic

    def to_json(self) -> dict[str, Any]:
        first, *further = (taken.to_json() for taken in self.taken)
        return {"chain": self.network.chain_text, **first, "further": further}


@dataclass
class Cut:
    """The search for one budget.

    Attributes:
        supernet: that is decoded. tables: of it, per constraint.
        start: the dense model as a round of its own.
        allowed: per constraint, what the next decoding may be predicted to take at the upper end.
        rounds: every network measured so far.
    """

    budget: Budget
    supernet: Supernet
    tables: Sequence[CostTable]
    start: Round
    allowed: list[float]
    rounds: list[Round] = field(default_factory=list)
    done: bool = False

    @property
    def judge(self) -> Judge:
        return self.supernet.judge

    @property
    def keeps_dense(self) -> bool:
        return self.start.fits

    @property
    def table(self) -> CostTable:
        """Of the latency on the target that the network is made for."""
        return self.tables[0]

    @property
    def feasible(self) -> Feasible:
        """What the next decoding chooses from."""
        return Feasible(*map(Limit, self.tables, self.allowed))

    @property
    def chosen(self) -> Round:
        """The dense model where it fits; else of the rounds that surely fit the one of least joint
        error; else the round that takes the least share of its limit."""
        if self.keeps_dense:
            return self.start
        sure = [step for step in self.rounds if step.surely]
        if sure:
            return min(sure, key=lambda step: self.judge.error(step.network.choice))
        return min(self.rounds, key=lambda step: step.share)

    @property
    def certificate(self) -> Certificate | None:
        """What the search could still gain over the chosen network, among all that are predicted to take
        no more than it; None where the dense model is kept."""
        if self.keeps_dense:
            return None
        uppers = [table.upper(self.chosen.network.choice) for table in self.tables]
        return self.judge.certificate(Feasible(*map(Limit, self.tables, uppers)))

    def feed_back(self, step: Round) -> None:
        """Move the allowances by what was measured; done when it fits without slack to use."""
        self.rounds.append(step)
        self.done = step.surely and step.share >= 1 - SLACK
        self.allowed = [taken.predicted[2] * AIM / taken.share for taken in step.taken]

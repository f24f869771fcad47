"""What was measured of a network for a budget, and what the next decoding may be predicted to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from statistics import geometric_mean
from typing import Any

from elastic.search.budget import Budget, Constraint
from elastic.search.deployment import Deployed
from elastic.search.feasible import Feasible, Limit
from elastic.search.judge import Judge
from elastic.search.strategies.natural_gradient import Certificate
from elastic.search.supernet import Network, Supernet
from predictors.cost_table import CostTable
from profiler.measurement import Measurement
from profiler.statistics import at_most, ratio_at_most

AIM = 0.97  # the share of the limit that a correction aims at most, so that noise does not undo it
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
    def at_most(self) -> float:
        """The share of the limit that another campaign finds at most, 19 times of 20."""
        if self.constraint.bound != "intrinsic":
            return self.share
        measurement, dense = self.deployed.measurement, self.dense.measurement
        if self.constraint.relative:
            return ratio_at_most(dense.minima, measurement.minima) / self.constraint.value
        return at_most(measurement.minima) / self.limit

    @property
    def aim(self) -> float:
        """The share of the limit that a correction aims at: what could surely fit where the visits of the
        confirmations, which are four times as many, halve what is unsure."""
        return min(AIM, sqrt(self.share / self.at_most))

    def with_more(self, other: Taken) -> Taken:
        """What two campaigns measured of it."""
        return replace(
            self,
            deployed=self.deployed.with_more(other.deployed),
            dense=self.dense.with_more(other.dense),
        )

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
        """Whether another campaign would very likely find that it fits."""
        return all(taken.at_most <= 1 for taken in self.taken)

    @property
    def speedup(self) -> float:
        """How many times faster than the dense model, both measured side by side."""
        dense = self.first.dense.measurement.statistics.intrinsic
        return dense / self.measurement.statistics.intrinsic

    def with_more(self, other: Round) -> Round:
        """What two campaigns measured of one network."""
        taken = zip(self.taken, other.taken, strict=True)
        return replace(self, taken=tuple(one.with_more(two) for one, two in taken))

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
            return min(sure, key=self._error)
        return min(self.rounds, key=lambda step: step.share)

    @property
    def contender(self) -> Round | None:
        """Of the rounds that fit, but not surely, the one of least joint error; None where the chosen one
        is as good."""
        doubtful = [step for step in self.rounds if step.fits and not step.surely]
        if self.keeps_dense or not doubtful:
            return None
        best = min(doubtful, key=self._error)
        chosen = self.chosen
        return best if not chosen.surely or self._error(best) < self._error(chosen) else None

    @property
    def certificate(self) -> Certificate | None:
        """What the search could still gain over the chosen network, among all that are predicted to take
        no more than it; None where the dense model is kept."""
        if self.keeps_dense:
            return None
        uppers = [table.upper(self.chosen.network.choice) for table in self.tables]
        return self.judge.certificate(Feasible(*map(Limit, self.tables, uppers)))

    def feed_back(self, step: Round) -> None:
        """Move the allowances by what was measured so far; done when it fits without slack to use."""
        self.rounds.append(step)
        self.done = step.surely and step.share >= 1 - SLACK
        # What all rounds missed the prediction by: going by the last alone would give back to the next
        # network what was this one's own.
        self.allowed = [
            min(taken.aim for taken in rounds)
            / geometric_mean(taken.share / taken.predicted[2] for taken in rounds)
            for rounds in zip(*(known.taken for known in self.rounds), strict=True)
        ]

    def repeat(self, step: Round) -> None:
        """What is allowed decodes to a network that was measured. Where it leaves slack, allow as much as
        it was mistaken for, since networks that have more of the same are mistaken alike."""
        own = [taken.predicted[2] * taken.aim / taken.share for taken in step.taken]
        wider = [*map(max, own, self.allowed)]
        self.done = step.share >= 1 - SLACK or wider == self.allowed
        self.allowed = wider

    def confirm(self, step: Round) -> None:
        """Take in what another campaign measured of a network that was measured before."""
        self.rounds = [
            known.with_more(step) if known.network == step.network else known
            for known in self.rounds
        ]

    def _error(self, step: Round) -> float:
        return self.judge.error(step.network.choice)

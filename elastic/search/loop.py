"""Decode, extract, deploy, measure, feed back: until the measured latency fits the budget.

The dynamic programme decodes against predictions; a prediction is off by a few per cent, so the
decoded network is exported and measured, and the limit that the next decoding is given moves by the
ratio of what was asked to what was measured: down after a miss, up where slack is worth using.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.export_pool import ExportPool, ExportRequest
from deploy.workload import Workload
from devices.errors import BudgetUnreachable
from devices.files import whole_directory
from devices.target import Target
from elastic.elastic_encoder import ElasticEncoder
from elastic.search.budget import Budget
from elastic.search.knapsack import Errors, cheapest, decode
from elastic.space import Chain, Choice, SearchSpace, size_of
from predictors.cost_table import CostTable
from predictors.predictor import LatencyPredictor
from profiler.campaign import Job, run_campaign
from profiler.measurement import Measurement
from profiler.store import Store

AIM = 0.98  # the share of the limit that a correction aims at, so that noise does not undo it
SLACK = 0.06  # unused share of the limit that is worth another round
DRIFT = 0.05  # change of the dense model between campaigns that is worth a warning


@dataclass(frozen=True)
class Round:
    """One network measured for one budget; milliseconds.

    Attributes:
        predicted: lower end, value and upper end of the prediction.
        dense: the dense model, measured in the same campaign as ``measurement``.
    """

    budget: Budget
    choice: Choice
    predicted: tuple[float, float, float]
    measurement: Measurement
    dense: Measurement

    @property
    def limit(self) -> float:
        """What the budget allows; where it is relative, relative to ``dense``."""
        return self.budget.limit(self.dense)

    @property
    def measured(self) -> float:
        """What the budget bounds."""
        return self.budget.bounded(self.measurement)

    @property
    def fits(self) -> bool:
        return self.measured <= self.limit

    @property
    def speedup(self) -> float:
        """How many times faster than the dense model, both measured side by side."""
        return self.dense.statistics.p20 / self.measurement.statistics.p20

    def to_json(self, space: SearchSpace) -> dict[str, Any]:
        lower, ms, upper = self.predicted
        return {
            "chain": chain_text(space.chain(self.choice)),
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
        start: the dense model as a round of its own.
        allowed: what the next decoding may be predicted to take, at the upper end.
        rounds: every network measured so far.
    """

    budget: Budget
    table: CostTable
    start: Round
    allowed: float
    rounds: list[Round] = field(default_factory=list)
    done: bool = False

    @property
    def keeps_dense(self) -> bool:
        return self.start.fits

    def chosen(self, errors: Errors) -> Round:
        """The dense model where it fits; else the fitting round of least predicted error, or the
        round nearest to its limit where none fits."""
        if self.keeps_dense:
            return self.start
        fitting = [step for step in self.rounds if step.fits]
        if fitting:
            return min(fitting, key=lambda step: error_of(errors, step.choice))
        return min(self.rounds, key=lambda step: step.measured / step.limit)

    def feed_back(self, step: Round) -> None:
        """Move the allowance by what was measured; done when it fits without slack to use."""
        self.rounds.append(step)
        self.done = (1 - SLACK) * step.limit <= step.measured <= step.limit
        self.allowed = step.predicted[2] * AIM * step.limit / step.measured


def error_of(errors: Errors, choice: Choice) -> float:
    """The additive error that the decoding minimised."""
    return float(sum(errors[position][level] for position, level in enumerate(choice)))


def chain_text(chain: Chain) -> list[str]:
    """``A4`` for attention with 4 heads, ``F640`` for a feed-forward of 640, ``-`` for dropped."""
    return [
        "-" if op is None else f"{'A' if op.kind == 'attention' else 'F'}{size_of(op)}"
        for op in chain
    ]


class Deployment:
    """Exports sub-networks of one elastic encoder and measures them, dense beside them."""

    def __init__(
        self,
        elastic: ElasticEncoder,
        space: SearchSpace,
        workload: Workload,
        *,
        store: Store,
        pool: ExportPool,
        campaign: str,
        work: Path,
        visits: int,
        seed: int,
        progress: Callable[[str], Any],
    ) -> None:
        self.elastic, self.space, self.workload = elastic, space, workload
        self.store, self.pool, self.campaign, self.work = store, pool, campaign, work
        self.visits, self.seed, self.progress = visits, seed, progress

    def measure(
        self, name: str, targets: Sequence[Target], wanted: Sequence[tuple[Target, Choice]] = ()
    ) -> tuple[dict[Target, Measurement], list[Measurement]]:
        """The dense model on every target, and every network wanted, in one interleaved campaign."""
        unique = list(dict.fromkeys([*((target, self.space.dense) for target in targets), *wanted]))
        requests = [
            ExportRequest(
                self._extract(choice), target.runtime, target.precision, self._place(choice)
            )
            for target, choice in unique
        ]
        with self.progress(f"exporting {len(requests)} networks") as advance:
            exported = self.pool.export(requests, progress=advance)
        jobs = [
            Job(target, self.space.architecture(choice), self.workload, files.path)
            for (target, choice), files in zip(unique, exported, strict=True)
        ]
        with self.progress(f"measuring {len(jobs)} networks") as advance:
            measured = run_campaign(
                jobs,
                store=self.store,
                campaign=f"{self.campaign}/{name}",
                seed=self.seed,
                visits=self.visits,
                progress=advance,
            )
        found = dict(zip(unique, measured, strict=True))
        dense = {target: found[target, self.space.dense] for target in targets}
        return dense, [found[key] for key in wanted]

    def _place(self, choice: Choice) -> Path:
        digest = hashlib.sha256(json.dumps(choice).encode()).hexdigest()[:16]
        return self.work / digest

    def _extract(self, choice: Choice) -> Path:
        directory = self._place(choice) / "encoder"
        if not directory.exists():
            with whole_directory(directory) as place:
                self.elastic.extract(self.space.chain(choice)).save_pretrained(place)
        return directory


def cut_to_budgets(
    deployment: Deployment,
    errors: Errors,
    predictors: Mapping[Target, LatencyPredictor],
    budgets: Sequence[Budget],
    *,
    rounds: int,
    warn: Callable[[str], None],
) -> list[Cut]:
    """One cut per budget, all measured side by side.

    Args:
        errors: per position, the error of each choice (elastic.search.sensitivity).
        predictors: one per target of the budgets.
        rounds: decodings per budget at most.
        warn: told when the dense model's own latency moves between campaigns.

    Raises:
        BudgetUnreachable: not even the cheapest sub-network is predicted to fit a budget.
    """
    space = deployment.space
    targets = list(dict.fromkeys(budget.target for budget in budgets))
    dense, _ = deployment.measure("dense", targets)
    tables = {
        t: predictors[t].table(space.base, space.choices, deployment.workload) for t in targets
    }
    cuts = [
        _begin(budget, tables[budget.target], dense[budget.target], space) for budget in budgets
    ]
    for number in range(1, rounds + 1):
        steps = [(cut, choice) for cut in cuts if not cut.done for choice in _next(cut, errors)]
        if not steps:
            break
        wanted = [(cut.budget.target, choice) for cut, choice in steps]
        still = [target for target in targets if any(target == key for key, _ in wanted)]
        beside, measured = deployment.measure(f"round {number}", still, wanted)
        _check_drift(budgets, dense, beside, warn)
        for (cut, choice), measurement in zip(steps, measured, strict=True):
            predicted = cut.table.predict(choice)
            reference = beside[cut.budget.target]
            cut.feed_back(Round(cut.budget, choice, predicted, measurement, reference))
    return cuts


def _begin(budget: Budget, table: CostTable, dense: Measurement, space: SearchSpace) -> Cut:
    start = Round(budget, space.dense, table.predict(space.dense), dense, dense)
    # Decoded on the predictor's own scale: the machine may have been quicker or slower when it was
    # profiled than it was just now with the dense model.
    allowed = start.limit * start.predicted[1] / start.measured
    return Cut(budget, table, start, allowed, done=start.fits)


def _next(cut: Cut, errors: Errors) -> list[Choice]:
    """The next network to measure, or none where the decoding repeats itself."""
    choice = decode(errors, cut.table, cut.allowed)
    if choice is None:
        least = cheapest(cut.table)
        _, ms, upper = cut.table.predict(least)
        if not cut.rounds and ms > cut.allowed:
            scale = cut.start.measured / cut.start.predicted[1]
            raise BudgetUnreachable(
                f"No sub-network fits {cut.budget.text} ({cut.start.limit:.3g} ms): the fastest "
                f"reachable is predicted at {scale * ms:.3g} ms, at most {scale * upper:.3g} ms; raise "
                "the budget to that, choose a faster target, or start from a smaller model."
            )
        choice = least
    choice = tuple(int(level) for level in choice)
    if any(step.choice == choice for step in cut.rounds):
        cut.done = True
        return []
    return [choice]


def _check_drift(
    budgets: Sequence[Budget],
    before: Mapping[Target, Measurement],
    after: Mapping[Target, Measurement],
    warn: Callable[[str], None],
) -> None:
    """A limit in milliseconds means little while the machine's own speed moves; one relative to the
    dense model is judged beside it and stands."""
    absolute = dict.fromkeys(budget.target for budget in budgets if not budget.relative)
    for target in (target for target in absolute if target in after):
        ratio = after[target].statistics.p20 / before[target].statistics.p20
        if abs(ratio - 1) > DRIFT:
            warn(
                f"On {target} the dense model took {ratio:.2f} times as long as at the start: the "
                "machine's own speed moved; measure again when it is quieter before trusting a close "
                "call."
            )

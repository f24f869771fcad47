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

import numpy as np

from deploy.export_pool import ExportPool, ExportRequest
from deploy.workload import Workload
from devices.errors import BudgetUnreachable
from devices.target import Target
from elastic.elastic_encoder import ElasticEncoder
from elastic.search.budget import Budget
from elastic.search.knapsack import cheapest, decode
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
    """One decoding and what became of it; milliseconds.

    Attributes:
        allowed: the limit that the decoding was given.
        predicted: lower end, value and upper end of the prediction.
        dense: the dense model, measured in the same campaign as ``measurement``.
    """

    choice: Choice
    allowed: float
    predicted: tuple[float, float, float]
    measurement: Measurement
    dense: Measurement

    @property
    def speedup(self) -> float:
        """How many times faster than the dense model, both measured side by side."""
        return self.dense.statistics.p20 / self.measurement.statistics.p20

    def to_json(self, space: SearchSpace, budget: Budget) -> dict[str, Any]:
        lower, ms, upper = self.predicted
        return {
            "chain": chain_text(space.chain(self.choice)),
            "allowed": self.allowed,
            "predicted": ms,
            "lower": lower,
            "upper": upper,
            "measured": budget.bounded(self.measurement),
        }


@dataclass
class Cut:
    """The search for one budget: its limit in milliseconds, and every round so far."""

    budget: Budget
    limit: float
    dense: Measurement
    table: CostTable
    rounds: list[Round] = field(default_factory=list)
    allowed: float = 0.0
    done: bool = False

    @property
    def keeps_dense(self) -> bool:
        return self.budget.bounded(self.dense) <= self.limit

    def fits(self, step: Round) -> bool:
        return self.budget.bounded(step.measurement) <= self.limit

    def best(self, errors: Sequence[np.ndarray[Any, Any]]) -> Round:
        """The fitting round of least predicted error, or the fastest round where none fits."""
        fitting = [step for step in self.rounds if self.fits(step)]
        if fitting:
            return min(fitting, key=lambda step: error_of(errors, step.choice))
        return min(self.rounds, key=lambda step: self.budget.bounded(step.measurement))

    def feed_back(self, step: Round) -> None:
        """Move the allowance by what was measured; done when it fits without slack to use."""
        self.rounds.append(step)
        measured = self.budget.bounded(step.measurement)
        self.done = (1 - SLACK) * self.limit <= measured <= self.limit
        self.allowed *= AIM * self.limit / measured


def error_of(errors: Sequence[np.ndarray[Any, Any]], choice: Choice) -> float:
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

    def measure(self, name: str, wanted: Sequence[tuple[Target, Choice]]) -> list[Measurement]:
        """Measure every (target, choice) in one interleaved campaign, in the given order."""
        unique = list(dict.fromkeys(wanted))
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
        by_key = dict(zip(unique, measured, strict=True))
        return [by_key[key] for key in wanted]

    def _place(self, choice: Choice) -> Path:
        digest = hashlib.sha256(json.dumps(choice).encode()).hexdigest()[:16]
        return self.work / digest

    def _extract(self, choice: Choice) -> Path:
        directory = self._place(choice) / "encoder"
        if not directory.exists():
            self.elastic.extract(self.space.chain(choice)).save_pretrained(directory)
        return directory


def cut_to_budgets(
    deployment: Deployment,
    errors: Sequence[np.ndarray[Any, Any]],
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
    dense_choice = tuple(space.dense)
    targets = list(dict.fromkeys(budget.target for budget in budgets))
    dense = dict(
        zip(targets, deployment.measure("dense", [(t, dense_choice) for t in targets]), strict=True)
    )
    tables = {
        t: predictors[t].table(space.base, space.choices, deployment.workload) for t in targets
    }
    cuts = [
        Cut(budget, budget.limit(dense[budget.target]), dense[budget.target], tables[budget.target])
        for budget in budgets
    ]
    for cut in cuts:
        cut.done, cut.allowed = cut.keeps_dense, cut.limit
    for number in range(1, rounds + 1):
        steps = [(cut, choice) for cut in cuts if not cut.done for choice in _next(cut, errors)]
        if not steps:
            break
        wanted = [(cut.budget.target, choice) for cut, choice in steps]
        beside = [(t, dense_choice) for t in dict.fromkeys(target for target, _ in wanted)]
        measured = deployment.measure(f"round {number}", [*beside, *wanted])
        again = dict(zip((target for target, _ in beside), measured, strict=False))
        for target, measurement in again.items():
            _check_drift(target, dense[target], measurement, warn)
        for (cut, choice), measurement in zip(steps, measured[len(beside) :], strict=True):
            predicted = cut.table.predict(choice)
            beside_it = again[cut.budget.target]
            cut.feed_back(Round(choice, cut.allowed, predicted, measurement, beside_it))
    return cuts


def _next(cut: Cut, errors: Sequence[np.ndarray[Any, Any]]) -> list[Choice]:
    """The next network to measure, or none where the decoding repeats itself."""
    choice = decode(errors, cut.table, cut.allowed)
    if choice is None:
        least = cheapest(cut.table)
        _, ms, upper = cut.table.predict(least)
        if not cut.rounds and ms > cut.limit:
            raise BudgetUnreachable(
                f"No sub-network fits {cut.budget.text} ({cut.limit:.3g} ms): the fastest reachable is "
                f"predicted at {ms:.3g} ms, at most {upper:.3g} ms; raise the budget to that, choose a "
                "faster target, or start from a smaller model."
            )
        choice = least
    choice = tuple(int(level) for level in choice)
    if any(step.choice == choice for step in cut.rounds):
        cut.done = True
        return []
    return [choice]


def _check_drift(
    target: Target, before: Measurement, after: Measurement, warn: Callable[[str], None]
) -> None:
    ratio = after.statistics.p20 / before.statistics.p20
    if abs(ratio - 1) > DRIFT:
        warn(
            f"On {target} the dense model took {ratio:.2f} times as long as at the start: the machine's "
            "own speed moved; measure again when it is quieter before trusting a close call."
        )

"""A budget on trial: what was promised of an exported file, and what it takes here and now.

A latency that is a fraction of the dense model's is judged beside the dense model, measured in the same
campaign, where the run keeps it: a machine's own speed moves, the fraction does not. A latency in
milliseconds is judged as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cutonce.proof import Subject
from cutonce.runs import DENSE
from deploy.encoder import Encoder
from deploy.export_pool import ExportPool, ExportRequest
from deploy.workload import Workload
from devices.target import Target
from elastic.search.budget import Bound, bounded
from elastic.search.deployment import Deployed
from profiler.campaign import run_campaign
from profiler.footprint import weigh
from profiler.job import Job
from profiler.measurement import Measurement
from profiler.statistics import LEAST_VISITS
from profiler.store import Store


@dataclass(frozen=True)
class Promise:
    """One limit of a budget on one target, as a sub-network and its artifact remember it.

    Attributes:
        bound: what it limits.
        limit: milliseconds or MB that it came to when it was last measured.
        fraction: of the dense model's latency, None for a limit in milliseconds or MB.
    """

    bound: Bound
    limit: float
    fraction: float | None

    @classmethod
    def read(cls, record: Mapping[str, Any], target: Target) -> tuple[Promise, ...]:
        """What a sub-network's record or an artifact's latency report promises on ``target``."""
        limits = record.get("limits", [])
        if record.get("limit") is not None:  # as it was written when a budget was one limit
            limits = [record]
        return tuple(
            cls(some["bound"], some["limit"], some.get("fraction"))
            for some in limits
            if some["target"] == str(target)
        )

    def to_json(self, target: Target) -> dict[str, Any]:
        """What :meth:`read` reads."""
        return {
            "target": str(target),
            "bound": self.bound,
            "limit": self.limit,
            "fraction": self.fraction,
        }


@dataclass(frozen=True)
class Trial:
    """An exported file, what was promised of it, and the dense model to judge a fraction beside."""

    subject: Subject
    promises: tuple[Promise, ...] = ()
    dense: Subject | None = None


@dataclass(frozen=True)
class Verdict:
    """What a promise came to.

    Attributes:
        limit: milliseconds or MB allowed here and now. value: taken; NaN where the device does not tell.
    """

    promise: Promise
    limit: float
    value: float

    @property
    def met(self) -> bool:
        return self.value <= self.limit

    @property
    def unit(self) -> str:
        return "ms" if self.promise.bound in ("intrinsic", "p90") else "MB"

    @property
    def miss(self) -> str:
        """One sentence about a limit that is not kept."""
        bound, allowed = self.promise.bound, f"{self.limit:.3g} {self.unit}"
        if math.isnan(self.value):
            return (
                f"What {bound} it takes is not told here, so the limit of {allowed} is not checked."
            )
        name = f"{bound} latency" if self.unit == "ms" else bound
        return (
            f"The {name} is {self.value:.3g} {self.unit}, {self.value / self.limit - 1:.1%} over the "
            f"budget of {allowed}."
        )


@dataclass(frozen=True)
class Outcome:
    """What was measured in one trial."""

    promises: tuple[Promise, ...]
    deployed: Deployed
    dense: Measurement | None

    @property
    def measurement(self) -> Measurement:
        return self.deployed.measurement

    @property
    def verdicts(self) -> list[Verdict]:
        """One per promise."""
        return [
            Verdict(promise, self._limit(promise), self.deployed.amount(promise.bound))
            for promise in self.promises
        ]

    def _limit(self, promise: Promise) -> float:
        if promise.fraction is None or self.dense is None:
            return promise.limit
        return promise.fraction * bounded(self.dense, promise.bound)

    @property
    def met(self) -> bool:
        return all(verdict.met for verdict in self.verdicts)

    def limits_json(self) -> list[dict[str, Any]]:
        """What :meth:`Promise.read` reads, with what was found."""
        return [
            {
                **verdict.promise.to_json(self.measurement.target),
                "limit": verdict.limit,
                "measured": None if math.isnan(verdict.value) else verdict.value,
                "unit": verdict.unit,
                "met": verdict.met,
            }
            for verdict in self.verdicts
        ]

    def to_json(self) -> dict[str, Any]:
        """The latency report of an artifact."""
        measurement, dense = self.measurement, self.dense
        return {
            **measurement.statistics.to_json(),
            "target": str(measurement.target),
            "fingerprint": measurement.fingerprint,
            "precision": measurement.precision,
            "limits": self.limits_json(),
            "dense": None if dense is None else dense.statistics.to_json(),
            "met": self.met,
            "warnings": list(measurement.warnings),
        }


def dense_of(run: Path, target: Target, workload: Workload) -> Subject | None:
    """The dense model that the search in ``run`` measured on ``target``, None where it is not here."""
    source = run / DENSE / "encoder"
    if not source.is_dir():
        return None
    request = ExportRequest(source, target.runtime, target.precision, run / DENSE)
    with ExportPool() as pool:
        [exported] = pool.export([request])
    return Subject(Encoder.from_pretrained(source), target, exported, workload)


def run_trials(
    trials: Sequence[Trial],
    *,
    store: Store,
    campaign: str,
    visits: int,
    seed: int,
    progress: Callable[[int, int], None],
    least: int = LEAST_VISITS,
    spread_seconds: float = 0.0,
) -> list[Outcome]:
    """All trials in one interleaved campaign; visits that it has already count."""
    beside = [trial.dense for trial in trials if trial.dense is not None]
    subjects = [*((trial.subject, False) for trial in trials), *((dense, True) for dense in beside)]
    jobs = [
        Job(s.target, s.encoder.architecture, s.workload, s.exported.path, reference)
        for s, reference in subjects
    ]
    measured = run_campaign(
        jobs,
        store=store,
        campaign=campaign,
        seed=seed,
        visits=visits,
        least=least,
        progress=progress,
        spread_seconds=spread_seconds,
    )
    found = iter(measured[len(trials) :])
    outcomes = []
    for trial, job, measurement in zip(trials, jobs, measured, strict=False):
        peak = None
        if any(promise.bound == "memory" for promise in trial.promises):
            [weight] = weigh(
                [job], store=store, campaign=f"{campaign}/memory", progress=lambda *_: None
            )
            peak = weight.peak_bytes
        deployed = Deployed(measurement, trial.subject.exported.size_bytes, peak)
        dense = None if trial.dense is None else next(found)
        outcomes.append(Outcome(trial.promises, deployed, dense))
    return outcomes

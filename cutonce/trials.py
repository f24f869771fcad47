"""A latency budget on trial: what was promised of an exported file, and what it takes here and now.

A budget that is a fraction of the dense model's latency is judged beside the dense model, measured in
the same campaign, where the run keeps it: a machine's own speed moves, the fraction does not. A budget
in milliseconds is judged as it is.
"""

from __future__ import annotations

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
from profiler.campaign import run_campaign
from profiler.job import Job
from profiler.measurement import Measurement
from profiler.statistics import LEAST_VISITS
from profiler.store import Store


@dataclass(frozen=True)
class Promise:
    """A latency budget as a sub-network and its artifact remember it.

    Attributes:
        limit: milliseconds that it came to when it was last measured.
        bound: what of the latency it bounds.
        fraction: of the dense model's latency, None for a budget in milliseconds.
    """

    limit: float
    bound: Bound
    fraction: float | None

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Promise | None:
        """The promise in a sub-network's record or an artifact's latency report, if there is one."""
        if record.get("limit") is None:
            return None
        return cls(record["limit"], record["bound"], record.get("fraction"))


@dataclass(frozen=True)
class Trial:
    """An exported file, what was promised of it, and the dense model to judge a fraction beside."""

    subject: Subject
    promise: Promise | None = None
    dense: Subject | None = None


@dataclass(frozen=True)
class Outcome:
    """What was measured in one trial."""

    promise: Promise | None
    measurement: Measurement
    dense: Measurement | None

    @property
    def limit(self) -> float | None:
        """Milliseconds allowed here and now, None where nothing was promised."""
        if self.promise is None or self.promise.fraction is None or self.dense is None:
            return None if self.promise is None else self.promise.limit
        return self.promise.fraction * bounded(self.dense, self.promise.bound)

    @property
    def bound(self) -> Bound:
        return "intrinsic" if self.promise is None else self.promise.bound

    @property
    def value(self) -> float:
        """The milliseconds that the budget bounds."""
        return bounded(self.measurement, self.bound)

    @property
    def met(self) -> bool:
        return self.limit is None or self.value <= self.limit

    @property
    def miss(self) -> str:
        """One sentence about a budget that is not met."""
        limit = self.limit or 0.0
        return (
            f"The {self.bound} latency is {self.value:.3g} ms, {self.value / limit - 1:.1%} over the "
            f"budget of {limit:.3g} ms."
        )

    def to_json(self) -> dict[str, Any]:
        """The latency report of an artifact."""
        measurement, dense = self.measurement, self.dense
        return {
            **measurement.statistics.to_json(),
            "target": str(measurement.target),
            "fingerprint": measurement.fingerprint,
            "precision": measurement.precision,
            "limit": self.limit,
            "bound": self.bound,
            "fraction": None if self.promise is None else self.promise.fraction,
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
    subjects = [*(trial.subject for trial in trials), *beside]
    measured = run_campaign(
        [Job(s.target, s.encoder.architecture, s.workload, s.exported.path) for s in subjects],
        store=store,
        campaign=campaign,
        seed=seed,
        visits=visits,
        least=least,
        progress=progress,
        spread_seconds=spread_seconds,
    )
    found = iter(measured[len(trials) :])
    return [
        Outcome(trial.promise, measurement, None if trial.dense is None else next(found))
        for trial, measurement in zip(trials, measured, strict=False)
    ]

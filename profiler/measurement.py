"""Measurement: one immutable record with its raw visits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from deploy.architecture import Architecture
from deploy.workload import Workload
from devices.target import Target
from profiler import statistics
from profiler.statistics import Statistics
from profiler.visit import Visit
from profiler.warnings import judge

SCHEMA = 1


@dataclass(frozen=True)
class Measurement:
    """What one architecture took on one target, under one workload.

    Attributes:
        campaign: which campaign measured it.
        fingerprint: id of the device's fingerprint.
        precision: what the runtime says that it computed in.
        visits: raw, in the order they were taken.
    """

    campaign: str
    target: Target
    fingerprint: str
    architecture: Architecture
    workload: Workload
    precision: str
    visits: tuple[Visit, ...]

    @cached_property
    def statistics(self) -> Statistics:
        return statistics.summarise(self._raw, [visit.quiet for visit in self.visits])

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """One sentence or two for everything to doubt."""
        return tuple(
            doubt.value
            for doubt in judge(self.visits, self.statistics, self.target, self.precision)
        )

    @property
    def millijoules(self) -> float | None:
        """Of a run: the median of the undisturbed visits, or of all where none was; None where the
        machine has no meter that can be read."""
        known = [visit for visit in self.visits if visit.microjoules is not None]
        chosen = [visit for visit in known if visit.quiet] or known
        found = [visit.microjoules / 1e3 for visit in chosen if visit.microjoules is not None]
        return float(np.median(found)) if found else None

    def within(self, limit: float) -> float:
        """Share of runs that took at most ``limit`` milliseconds."""
        return statistics.within(self._raw, limit)

    @property
    def taken(self) -> list[tuple[float, float]]:
        """Moment, in Unix seconds, and least run, in milliseconds, of each visit."""
        return [(visit.started, min(visit.milliseconds)) for visit in self.visits]

    @property
    def minima(self) -> list[float]:
        """Of the visits, in milliseconds."""
        return [min(visit.milliseconds) for visit in self.visits]

    def with_more(self, other: Measurement) -> Measurement:
        """The visits of both, of one architecture in two campaigns."""
        return replace(self, visits=self.visits + other.visits)

    @property
    def _raw(self) -> list[tuple[float, ...]]:
        return [visit.milliseconds for visit in self.visits]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "campaign": self.campaign,
            "target": str(self.target),
            "fingerprint": self.fingerprint,
            "architecture": self.architecture.to_json(),
            "workload": self.workload.to_json(),
            "precision": self.precision,
            "statistics": self.statistics.to_json(),
            "warnings": list(self.warnings),
            "visits": [visit.to_json() for visit in self.visits],
        }

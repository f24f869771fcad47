"""Job: one exported file to measure; Subject: a job under way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deploy.architecture import Architecture
from deploy.workload import Workload
from devices.target import Target
from profiler.measurement import Measurement
from profiler.statistics import agree

PATIENCE = 2  # times the visits wanted, after which a disturbed subject is given up

Key = tuple[str, str, Workload]
"""Target, digest of the architecture, workload: what makes two jobs the same measurement."""


@dataclass(frozen=True)
class Job:
    """One exported file to measure; ``path`` is what the target's runtime loads."""

    target: Target
    architecture: Architecture
    workload: Workload
    path: Path

    @property
    def key(self) -> Key:
        return str(self.target), self.architecture.digest, self.workload

    @property
    def size_bytes(self) -> int:
        """Of all files that belong to it."""
        return sum(file.stat().st_size for file in self.path.parent.glob(f"{self.path.stem}.*"))


def key_of(measurement: Measurement) -> Key:
    return str(measurement.target), measurement.architecture.digest, measurement.workload


@dataclass
class Subject:
    """A job under way.

    Attributes:
        wanted: undisturbed visits, after which it is done in any case.
        least: undisturbed visits, after which it is done where its lowest visits agree.
        name: in the agent. number: in the store, once it was loaded.
        goal: undisturbed visits wanted from the starts of its process so far.
        minima: of all visits, in milliseconds. quiet: visits that were undisturbed. pending: visits
            that are not yet judged.
        crashes: how often its agent died or hung under it. failed: it is left alone.
    """

    job: Job
    wanted: int
    least: int
    name: str
    goal: int
    number: int = 0
    minima: list[float] = field(default_factory=list)
    quiet: int = 0
    pending: int = 0
    crashes: int = 0
    failed: bool = False

    @property
    def wants(self) -> bool:
        """Whether it is to be visited again, for now."""
        if self.failed or len(self.minima) >= PATIENCE * self.goal:
            return False
        return self.quiet + self.pending < self.goal and not self._settled

    @property
    def progress(self) -> int:
        """Visits done, of those wanted."""
        done = self.failed or self._settled
        return self.wanted if done else min(len(self.minima), self.wanted)

    @property
    def _settled(self) -> bool:
        return self.quiet >= self.least and agree(self.minima)

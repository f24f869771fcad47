"""Job: one exported file to measure; Subject: a job under way."""

from __future__ import annotations

import math
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
        minima: of the undisturbed visits, in milliseconds.
        taken: visits, disturbed or not. pending: of these, not yet judged.
        crashes: how often its agent died or hung under it. failed: it is left alone.
        held: the second half of its visits waits for another start of the process.
    """

    job: Job
    wanted: int
    least: int
    name: str
    number: int = 0
    minima: list[float] = field(default_factory=list)
    taken: int = 0
    pending: int = 0
    crashes: int = 0
    failed: bool = False
    held: bool = False

    @property
    def wants(self) -> bool:
        """Whether it is to be visited again, for now."""
        goal = math.ceil(self.wanted / 2) if self.held else self.wanted
        if self.failed or self.taken >= PATIENCE * goal:
            return False
        if len(self.minima) + self.pending >= goal:
            return False
        return not (len(self.minima) >= self.least and agree(self.minima))

    @property
    def progress(self) -> int:
        """Visits done, of those wanted."""
        return min(self.taken, self.wanted) if self.wants or self.held else self.wanted

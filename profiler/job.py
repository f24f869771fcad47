"""Job: one exported file to measure; Subject: a job under way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from deploy.architecture import Architecture
from deploy.workload import Workload
from devices.device import open_device
from devices.target import Target
from profiler.measurement import Measurement
from profiler.statistics import agree

PATIENCE = 2  # times the visits wanted, after which a disturbed subject is given up
SETTLING = 4  # times the visits wanted, after which one whose lowest visits never agree is given up

Key = tuple[str, str, Workload]
"""Target, digest of the architecture, workload: what makes two jobs the same measurement."""


@dataclass(frozen=True)
class Job:
    """One exported file to measure.

    Attributes:
        path: what the target's runtime loads.
        reference: others are judged beside it, so that it is visited as long as any of them is.
    """

    target: Target
    architecture: Architecture
    workload: Workload
    path: Path
    reference: bool = False

    @property
    def key(self) -> Key:
        return str(self.target), self.architecture.digest, self.workload

    @property
    def size_bytes(self) -> int:
        """Of all files that belong to it."""
        return sum(file.stat().st_size for file in self.path.parent.glob(f"{self.path.stem}.*"))


def series_of(campaign: str, device: str) -> str:
    """What is kept under: the part of a campaign since the device was started. Restarted, a machine may
    differ from itself, so that nothing of before counts."""
    boot = open_device(device).boot()
    return campaign if boot is None else f"{campaign}, started {boot}"


def key_of(measurement: Measurement) -> Key:
    return str(measurement.target), measurement.architecture.digest, measurement.workload


@dataclass
class Subject:
    """A job under way.

    Attributes:
        wanted: undisturbed visits, after which it is done in any case.
        least: undisturbed visits, after which it is done where its lowest visits agree.
        apart: seconds between the lowest visits that have to agree before it is done; 0 where it is
            done after ``wanted`` in any case.
        name: in the agent. number: in the store, once it was loaded.
        goal, enough: what of ``wanted`` and ``least`` is due from the starts of its process so far.
        taken: moment, in Unix seconds, and milliseconds of each visit. quiet: visits that were
            undisturbed. pending: visits that are not yet judged.
        crashes: how often its agent died or hung under it. failed: it is left alone.
    """

    job: Job
    wanted: int
    least: int
    apart: float
    name: str
    goal: int = 0
    enough: int = 0
    number: int = 0
    taken: list[tuple[float, float]] = field(default_factory=list)
    quiet: int = 0
    pending: int = 0
    crashes: int = 0
    failed: bool = False

    @property
    def wants(self) -> bool:
        """Whether it is to be visited again, for now."""
        if self.failed or self._settled:
            return False
        if self.apart:
            return len(self.taken) < SETTLING * self.goal
        return self.quiet + self.pending < self.goal and len(self.taken) < PATIENCE * self.goal

    @property
    def progress(self) -> int:
        """Visits done, of those wanted."""
        most = self.wanted * (SETTLING if self.apart else 1)
        if self.failed or (self._settled and self.goal == self.wanted):
            return self.wanted
        return min(len(self.taken), most) * self.wanted // most

    def due(self, start: int, starts: int) -> None:
        """Take note of what is due by the end of a start of its process, counted from 1."""
        self.goal = math.ceil(self.wanted * start / starts)
        self.enough = math.ceil(self.least * start / starts)

    @property
    def _settled(self) -> bool:
        return self.quiet >= self.enough and agree(self.taken, self.apart)

"""A campaign: many configurations of many targets, measured side by side.

Rounds in random order over everything, one short visit each, so that a slow episode of the machine
touches all configurations alike, and the least visit of many rounds leaves it out. Visits that a canary
or the machine's own counters tell to be disturbed are taken again (profiler.gate). One agent process
per target, one of them active at a time. The visits are split over several starts of the processes,
since where memory comes to lie differs between starts; files that do not fit into memory at once are
measured block by block within each start, so that the visits to each are spread over the campaign. A
reference, whose latency others are a fraction of, is part of every block and of every round: minutes
apart, a machine differs from itself by more than what is judged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from devices.device import open_device
from devices.errors import DeviceError, UsageError
from profiler.crew import Crew
from profiler.gate import UNWATCHED, Gate
from profiler.hosts import Progress, Stop, on_each_host
from profiler.job import Job, Key, Subject, key_of, series_of
from profiler.measurement import Measurement
from profiler.statistics import LEAST_VISITS
from profiler.store import Store
from profiler.stretch import Stretch

LOADED_BYTES = 2 * 2**30
KNOWN_READINGS = 2000  # of earlier campaigns that the gate goes by: about an hour of measuring
STARTS = 2  # of the processes, which is sound
VISITS = 30  # undisturbed ones, which is sound
APART = 15.0  # seconds between visits that agree, which is sound: slow episodes last that long


def _unheard(_done: int, _total: int) -> None:
    """Progress that nobody follows."""


def _never() -> bool:
    return False


def run_campaign(
    jobs: Sequence[Job],
    *,
    store: Store,
    campaign: str,
    seed: int,
    visits: int = VISITS,
    least: int | None = None,
    starts: int = 1,
    loaded_bytes: int = LOADED_BYTES,
    spread_seconds: float = 0.0,
    apart: float = 0.0,
    stop: Callable[[], bool] = _never,
    failed: Callable[[Job, DeviceError], None] | None = None,
    progress: Progress = _unheard,
    pause: Callable[[float], None] = time.sleep,
) -> list[Measurement]:
    """Measure every job with up to ``visits`` undisturbed visits; one measurement per job, in order.
    Different machines measure side by side.

    Visits that the store has of the same campaign, target, fingerprint, architecture and workload
    count, so an interrupted campaign goes on where it stopped, unless the device was restarted. Jobs
    that are alike in these are measured once.

    Args:
        least: undisturbed visits after which a job is done where its lowest three agree within 1 %;
            two thirds of ``visits``, and no less than 9, where not given.
        starts: of the processes, over which the visits are split; :data:`STARTS` is sound.
        loaded_bytes: of files that are loaded at once; what does not fit is measured block by block.
        spread_seconds: time over which the visits to real targets are spread at least, since a slow
            episode of the machine may last longer than all the work.
        apart: seconds between the lowest visits of a job that have to agree before it is done, up to
            :data:`~profiler.job.SETTLING` times ``visits``: on a machine with slow minutes, visits that
            agree within one of them tell nothing; :data:`APART` is sound. 0: ``visits`` are enough.
        stop: asked after every visit; True ends the campaign with what there is.
        failed: told of a job that cannot be loaded, crashes or hangs. The others are measured first in
            any case; without this argument the first failure is raised after that.
        progress: called with (done, total) visits.
        pause: how to wait, in seconds.

    Raises:
        UsageError: less than one visit, or sequences longer than an encoder has positions.
        DeviceError: a job failed and ``failed`` is not given.
        StoreError: the store cannot be used.
    """
    _check(jobs, visits)
    least = max(LEAST_VISITS, 2 * visits // 3) if least is None else least

    def measure(
        some: Sequence[Job], own: Store, told: Progress, ended: Stop
    ) -> list[tuple[Job, DeviceError]]:
        known = _measured(some, own, campaign)
        subjects = _subjects(some, known, visits, min(least, visits), apart)
        failures: list[tuple[Job, DeviceError]] = []
        gates: dict[str, Gate] = {}
        rng = np.random.default_rng(seed)
        stopped = False
        for part in _parts(subjects, starts, loaded_bytes):
            gap = spread_seconds * part.share / max(1, part.visits - 1)
            with Crew(
                part.subjects, own, campaign, lambda s, e: failures.append((s.job, e)), pause
            ) as crew:
                rounds = _Rounds(crew, part.subjects, own, gates, gap, pause)
                for _ in rounds.visits(rng):
                    told(sum(s.progress for s in subjects), visits * len(subjects))
                    if stopped := ended():
                        break
                rounds.end()
            if stopped:
                break
        return failures

    for job, error in on_each_host(measure, jobs, store, progress, stop):
        if failed is None:
            raise error
        failed(job, error)
    found = _measured(jobs, store, campaign)
    return [found[job.key] for job in jobs if job.key in found]


class _Rounds:
    """Rounds over some subjects with one crew."""

    def __init__(
        self,
        crew: Crew,
        subjects: Sequence[Subject],
        store: Store,
        gates: dict[str, Gate],
        gap: float,
        pause: Callable[[float], None],
    ) -> None:
        self._crew, self._subjects, self._gap, self._pause = crew, subjects, gap, pause
        self._stretches = {
            device: Stretch(device, crew, _gate(gates, device, store), store, pause)
            for device in crew.devices
        }

    def visits(self, rng: np.random.Generator) -> Iterator[Subject]:
        """Visit everything that wants it, round by round, and yield who was visited."""
        while wanting := self._wanting():
            began = time.monotonic()
            for index in rng.permutation(len(wanting)):
                self._visit(wanting[index])
                yield wanting[index]
            left = began + self._gap - time.monotonic()
            if self._stretches and left > 0 and any(subject.wants for subject in wanting):
                self._pause(left)

    def _wanting(self) -> list[Subject]:
        """Who is to be visited; where nobody seems to be, after the last visits were judged."""
        for _ in range(2):
            wanting = [subject for subject in self._subjects if subject.wants]
            if wanting:
                break
            self.end()
        if any(not subject.job.reference for subject in wanting):
            wanting += [s for s in self._subjects if s.job.reference and not (s.wants or s.failed)]
        return wanting

    def end(self) -> None:
        """Judge what was visited."""
        for stretch in self._stretches.values():
            stretch.end()

    def _visit(self, subject: Subject) -> None:
        taken = None if subject.failed else self._crew.visit(subject)
        if taken is None:
            return
        number, visit = taken
        subject.taken.append((visit.started, min(visit.milliseconds)))
        if UNWATCHED in visit.causes:
            self._stretches[subject.job.target.device].add(subject, number)
        else:
            subject.quiet += visit.quiet


def _gate(gates: dict[str, Gate], device: str, store: Store) -> Gate:
    """The campaign's gate of a device, which knows what earlier campaigns read there."""
    if device not in gates:
        owner = open_device(device).fingerprint().id
        gates[device] = Gate(store.readings(owner, KNOWN_READINGS))
    return gates[device]


def _check(jobs: Sequence[Job], visits: int) -> None:
    if visits < 1:
        raise UsageError(f"A campaign takes at least 1 visit, not {visits}; 9 or more are sound.")
    for job in jobs:
        job.workload.require_fits(job.architecture)


def _subjects(
    jobs: Sequence[Job], known: dict[Key, Measurement], wanted: int, least: int, apart: float
) -> list[Subject]:
    unique: dict[Key, Job] = {}
    for job in jobs:
        if job.reference or job.key not in unique:
            unique[job.key] = job
    subjects = []
    for number, (key, job) in enumerate(unique.items()):
        # The fake device has no slow minutes; its clock does not even tell.
        subject = Subject(job, wanted, least, 0.0 if job.target.virtual else apart, str(number))
        if key in known:
            visits = known[key].visits
            subject.taken = [(visit.started, min(visit.milliseconds)) for visit in visits]
            subject.quiet = sum(visit.quiet for visit in visits)
        subjects.append(subject)
    return subjects


def _measured(jobs: Sequence[Job], store: Store, campaign: str) -> dict[Key, Measurement]:
    """What the store has of the campaign, taken on the devices as they are now."""
    owners = {
        target: open_device(target.device).fingerprint().id
        for target in {job.target for job in jobs}
    }
    return {
        key_of(measurement): measurement
        for target, owner in owners.items()
        for measurement in store.measurements(
            campaign=series_of(campaign, target.device), target=target, fingerprint=owner
        )
    }


@dataclass(frozen=True)
class _Part:
    """What is measured with one crew.

    Attributes:
        visits: to each subject. share: of the campaign's time.
    """

    subjects: Sequence[Subject]
    visits: int
    share: float


def _parts(subjects: Sequence[Subject], starts: int, loaded_bytes: int) -> Iterator[_Part]:
    """Start after start, and block after block in each; only who still wants visits by then."""
    for start in range(1, starts + 1):
        for subject in subjects:
            subject.due(start, starts)
        blocks = list(_blocks(subjects, loaded_bytes))
        for block in blocks:
            yield _Part(block, math.ceil(block[0].wanted / starts), 1 / (starts * len(blocks)))


def _blocks(subjects: Sequence[Subject], loaded_bytes: int) -> Iterator[list[Subject]]:
    """Who wants visits, as many at once as can be loaded beside all references."""
    references = [subject for subject in subjects if subject.job.reference]
    left = loaded_bytes - sum(subject.job.size_bytes for subject in references)
    block: list[Subject] = []
    size = 0
    for subject in subjects:
        if subject.job.reference or not subject.wants:
            continue
        weight = subject.job.size_bytes
        if block and size + weight > left:
            yield references + block
            block, size = [], 0
        block.append(subject)
        size += weight
    if block or any(subject.wants for subject in references):
        yield references + block

"""A campaign: many configurations of many targets, measured side by side.

Rounds in random order over everything, one short visit each, so that a slow episode of the machine
touches all configurations alike and a low quantile over the rounds leaves it out. One agent process
per target, one of them active at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from deploy.architecture import Architecture
from deploy.workload import Workload
from devices.device import open_device
from devices.errors import UsageError
from devices.target import Target
from profiler.archive import build_archive
from profiler.client import AgentClient
from profiler.measurement import Measurement, Visit
from profiler.store import Store

RUNS = 5
VISIT_MS = 15.0
LOADED_BYTES = 2 * 2**30  # of files loaded at once; more jobs than fit are measured block by block

Progress = Callable[[int, int], None]


def _unheard(_done: int, _total: int) -> None:
    """Progress that nobody follows."""


@dataclass(frozen=True)
class Job:
    """One exported file to measure; ``path`` is what the target's runtime loads."""

    target: Target
    architecture: Architecture
    workload: Workload
    path: Path


@dataclass
class _Subject:
    """A job under way: its name in the agent, number in the store, and visits still wanted."""

    job: Job
    name: str
    number: int
    missing: int


def run_campaign(
    jobs: Sequence[Job],
    *,
    store: Store,
    campaign: str,
    seed: int,
    visits: int = 9,
    progress: Progress = _unheard,
    spread_seconds: float = 0.0,
    pause: Callable[[float], None] = time.sleep,
) -> list[Measurement]:
    """Measure every job with ``visits`` visits; one measurement per job, in the order given.

    Visits that the store has of the same campaign, target, fingerprint, architecture and workload
    count, so an interrupted campaign goes on where it stopped. Jobs that are alike in these are
    measured once.

    Args:
        progress: called with (done, total) visits.
        spread_seconds: time over which the rounds of real targets are spread at least, since a slow
            episode of the machine may last longer than all the work.
        pause: how to wait for the next round, in seconds.

    Raises:
        UsageError: less than one visit, or sequences longer than an encoder has positions.
        DeviceError: an agent or runtime failed.
        StoreError: the store cannot be used.
    """
    _check(jobs, visits)
    rng = np.random.default_rng(seed)
    known = _known(jobs, store, campaign)
    unique: dict[_Key, Job] = {}
    for job in jobs:
        unique.setdefault(_key(job), job)
    todo = [job for key, job in unique.items() if known.get(key, 0) < visits]
    total = visits * len(todo)
    done = sum(known.get(_key(job), 0) for job in todo)
    blocks = list(_blocks(todo))
    gap = spread_seconds / max(1, visits * len(blocks) - 1)
    for block in blocks:
        with _loaded(block, store, campaign, visits, known) as (agents, subjects):
            waits = any(not target.virtual for target in agents)
            for _ in range(max((subject.missing for subject in subjects), default=0)):
                began = time.monotonic()
                _take_canaries(agents, store, campaign)
                for index in rng.permutation(len(subjects)):
                    done += _visit(agents, subjects[index], store)
                    progress(done, total)
                left = began + gap - time.monotonic()
                if waits and done < total and left > 0:
                    pause(left)
    return _results(jobs, store, campaign)


def _check(jobs: Sequence[Job], visits: int) -> None:
    if visits < 1:
        raise UsageError(f"A campaign takes at least 1 visit, not {visits}; 9 or more are sound.")
    for job in jobs:
        if job.workload.length > job.architecture.positions:
            raise UsageError(
                f"Length {job.workload.length} is more than the {job.architecture.positions} "
                f"positions of {job.architecture}; measure it with a shorter --length."
            )


_Key = tuple[str, str, Workload]


def _key(job: Job | Measurement) -> _Key:
    return str(job.target), job.architecture.digest, job.workload


def _owners(jobs: Sequence[Job]) -> dict[Target, str]:
    """The fingerprint id of every target's device, as it is now."""
    return {
        target: open_device(target.device).fingerprint().id
        for target in {job.target for job in jobs}
    }


def _measured(jobs: Sequence[Job], store: Store, campaign: str) -> dict[_Key, Measurement]:
    owners = _owners(jobs)
    return {
        _key(measurement): measurement
        for target, owner in owners.items()
        for measurement in store.measurements(campaign=campaign, target=target, fingerprint=owner)
    }


def _known(jobs: Sequence[Job], store: Store, campaign: str) -> dict[_Key, int]:
    return {key: len(m.visits) for key, m in _measured(jobs, store, campaign).items()}


def _results(jobs: Sequence[Job], store: Store, campaign: str) -> list[Measurement]:
    measured = _measured(jobs, store, campaign)
    return [measured[_key(job)] for job in jobs]


def _blocks(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    block: list[Job] = []
    size = 0
    for job in jobs:
        weight = sum(file.stat().st_size for file in job.path.parent.glob(f"{job.path.stem}.*"))
        if block and size + weight > LOADED_BYTES:
            yield block
            block, size = [], 0
        block.append(job)
        size += weight
    if block:
        yield block


@contextmanager
def _loaded(
    jobs: Sequence[Job], store: Store, campaign: str, visits: int, known: dict[_Key, int]
) -> Iterator[tuple[dict[Target, AgentClient], list[_Subject]]]:
    """One agent per target with its jobs loaded, and the jobs as subjects of the store."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(TemporaryDirectory()))
        archive = build_archive(place / "agent.pyz")
        agents: dict[Target, AgentClient] = {}
        subjects: list[_Subject] = []
        for job in jobs:
            device = open_device(job.target.device)
            if job.target not in agents:
                agents[job.target] = stack.enter_context(AgentClient(device, archive))
                store.add_fingerprint(device.fingerprint())
            name = str(len(subjects))
            precision = _load(agents[job.target], job, device.put(job.path), name)
            number = store.subject(
                campaign,
                job.target,
                device.fingerprint().id,
                job.architecture,
                job.workload,
                precision,
            )
            subjects.append(_Subject(job, name, number, visits - known.get(_key(job), 0)))
        yield agents, subjects


def _load(agent: AgentClient, job: Job, path: str, name: str) -> str:
    answer = agent.ask(
        "load",
        id=name,
        runtime=job.target.runtime,
        path=path,
        precision=job.target.precision,
        threads=job.target.threads,
        batch=job.workload.batch,
        length=job.workload.length,
        vocabulary=job.architecture.vocabulary,
        seed=0,
    )
    return str(answer["precision"])


def _visit(agents: dict[Target, AgentClient], subject: _Subject, store: Store) -> int:
    if subject.missing <= 0:
        return 0
    started = time.time()
    answer = agents[subject.job.target].ask(
        "visit", id=subject.name, runs=RUNS, minimum_ms=VISIT_MS
    )
    store.add_visit(subject.number, Visit(started, tuple(ns / 1e6 for ns in answer["ns"])))
    subject.missing -= 1
    return 1


def _take_canaries(agents: dict[Target, AgentClient], store: Store, campaign: str) -> None:
    """Two fixed pieces of work, recorded beside the visits: what the machine itself did meanwhile.

    A virtual clock has no neighbours to watch for.
    """
    for target, agent in agents.items():
        if target.virtual:
            continue
        owner = open_device(target.device).fingerprint().id
        for kind in ("compute", "memory"):
            started = time.time()
            answer = agent.ask("canary", kind=kind)
            store.add_canary(campaign, target, owner, kind, started, answer["ns"] / 1e6)

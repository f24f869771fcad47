"""The agents of one block of a campaign: one per target, and one that watches each real device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from devices.device import open_device
from devices.errors import AgentDied, DeviceError
from devices.target import Target
from profiler.archive import build_archive
from profiler.client import AgentClient
from profiler.gate import UNWATCHED, GpuGate, Reading
from profiler.job import Job, Subject
from profiler.store import Store
from profiler.visit import Visit

RUNS = 3  # at least; of a large model the third is already as quick as any
VISIT_MS = 20.0
VISIT_PATIENCE = 120.0  # seconds; a visit is a few runs

Failed = Callable[[Subject, DeviceError], None]


def load_request(job: Job) -> dict[str, Any]:
    """What an agent is to be told to load a job's file, but for its name there."""
    return {
        "runtime": job.target.runtime,
        "path": open_device(job.target.device).put(job.path),
        "precision": job.target.precision,
        "threads": job.target.threads,
        "streams": job.target.streams,
        "batch": job.workload.batch,
        "length": job.workload.length,
        "vocabulary": job.architecture.vocabulary,
        "seed": 0,
    }


class Crew:
    """Started agents with their subjects loaded; a context manager that ends them.

    Only one agent is asked at a time, and the parent blocks meanwhile. Each target has a process of
    its own: the thread pools of two runtimes in one process take each other's cores.

    Args:
        failed: told of a subject that cannot be loaded, crashes or hangs; the others go on.
    """

    def __init__(
        self, subjects: Sequence[Subject], store: Store, campaign: str, failed: Failed
    ) -> None:
        self._subjects, self._store, self._campaign = subjects, store, campaign
        self._failed = failed
        self._stack = ExitStack()
        self._agents: dict[Target, AgentClient] = {}
        self._watchers: dict[str, AgentClient] = {}
        self._starts: dict[Target, str] = {}
        self._gpu = GpuGate()

    def __enter__(self) -> Crew:
        with ExitStack() as stack:  # ends what was started where starting the rest fails
            self._stack = stack
            place = Path(stack.enter_context(TemporaryDirectory()))
            self._archive = build_archive(place / "agent.pyz")
            for target in dict.fromkeys(subject.job.target for subject in self._subjects):
                self._store.add_fingerprint(open_device(target.device).fingerprint())
                if not target.virtual and target.device not in self._watchers:
                    self._watchers[target.device] = self._start_agent(target.device)
                self._start(target)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def devices(self) -> list[str]:
        """The real devices, which can be watched."""
        return list(self._watchers)

    def visit(self, subject: Subject) -> tuple[int, Visit] | None:
        """Visit a subject and keep what it took; returns the visit with its number, None where
        nothing was taken. A visit to a real processor is unwatched until it is judged."""
        target, started = subject.job.target, time.time()
        try:
            answer = self._agents[target].ask(
                "visit", patience=VISIT_PATIENCE, id=subject.name, runs=RUNS, minimum_ms=VISIT_MS
            )
        except AgentDied as error:
            self._crashed(subject, error)
            self._start(target)
            return None
        except DeviceError as error:
            self._fail(subject, error)
            return None
        runs = tuple(ns / 1e6 for ns in answer["ns"])
        causes: tuple[str, ...] = () if target.virtual else (UNWATCHED,)
        if target.gpu:
            causes = self._gpu.judge(answer["gpu_mhz"], answer["gpu_slowed"])
        used = None if target.virtual else answer["uj"]  # which would be the host's
        visit = Visit(started, runs, self._starts[target], causes, used)
        return self._store.add_visit(subject.number, visit), visit

    def read(self, device: str) -> Reading:
        """What a real device says of itself just now; it is kept."""
        own = time.process_time()
        for target, agent in list(self._agents.items()):
            if target.device == device:
                try:
                    own += agent.ask("processor")["seconds"]
                except AgentDied:  # between two visits, so that no subject is to blame
                    self._start(target)
        watcher = self._watchers[device]
        answer, started = watcher.ask("watch"), time.time()
        own += watcher.ask("processor")["seconds"]
        reading = Reading.of(answer, started, own)
        owner = open_device(device).fingerprint().id
        self._store.add_reading(self._campaign, owner, reading)
        return reading

    def _start(self, target: Target) -> None:
        """Start the target's agent, in place of one that died, and load what has not failed."""
        self._agents.pop(target, None)
        if not any(s.job.target == target and not s.failed for s in self._subjects):
            return
        self._agents[target] = self._start_agent(target.device)
        self._starts[target] = f"{time.time():.6f}"
        for subject in self._subjects:
            if subject.job.target == target and not subject.failed:
                try:
                    self._load(subject)
                except AgentDied as error:
                    self._crashed(subject, error)
                    self._start(target)
                    return
                except DeviceError as error:
                    self._fail(subject, error)

    def _start_agent(self, device: str) -> AgentClient:
        return self._stack.enter_context(AgentClient(open_device(device), self._archive))

    def _load(self, subject: Subject) -> None:
        job = subject.job
        answer = self._agents[job.target].ask("load", id=subject.name, **load_request(job))
        subject.number = self._number(subject, str(answer["precision"]))

    def _number(self, subject: Subject, precision: str) -> int:
        job = subject.job
        owner = open_device(job.target.device).fingerprint().id
        return self._store.subject(
            self._campaign, job.target, owner, job.architecture, job.workload, precision
        )

    def _crashed(self, subject: Subject, error: AgentDied) -> None:
        """An agent may die of something else, so a subject is given up when it happens again."""
        subject.crashes += 1
        if subject.crashes > 1:
            self._fail(subject, error)

    def _fail(self, subject: Subject, error: DeviceError) -> None:
        subject.failed = True
        number = subject.number or self._number(subject, "")
        self._store.add_failure(number, time.time(), str(error))
        self._failed(subject, error)

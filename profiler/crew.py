"""The agents of one block of a campaign: one per target, and one that watches each real device."""

from __future__ import annotations

import logging
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from devices.device import open_device
from devices.errors import AgentDied, DeviceError, Unreachable
from devices.target import Target
from profiler.archive import build_archive
from profiler.client import AgentClient
from profiler.gate import UNWATCHED, GpuGate, Reading
from profiler.job import Job, Subject, series_of
from profiler.store import Store
from profiler.visit import Visit

RUNS = 3  # at least; of a large model the third is already as quick as any
VISIT_MS = 20.0
VISIT_PATIENCE = 120.0  # seconds; a visit is a few runs
AWAY_SECONDS = 300.0  # that a device may be out of reach before a campaign gives up
_BETWEEN_TRIES, _BETWEEN_CLAIMS = 5.0, 1.0  # seconds

_LOG = logging.getLogger(__name__)

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
    its own: the thread pools of two runtimes in one process take each other's cores. A device that
    cannot be reached for a while is waited for, and so is another campaign on it.

    Args:
        failed: told of a subject that cannot be loaded, crashes or hangs; the others go on.
        pause: how to wait, in seconds.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        store: Store,
        campaign: str,
        failed: Failed,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._subjects, self._store, self._campaign = subjects, store, campaign
        self._failed, self._pause = failed, pause
        self._walls: dict[str, float] = {}
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
                    self._watch(target.device)
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
            self._revive(target)
            return None
        except Unreachable:
            self._reconnect(target.device)
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
        """What a real device says of itself just now; it is kept.

        Raises:
            DeviceError: it was restarted since it was last read.
        """
        while True:
            try:
                reading = self._read(device)
            except Unreachable:
                self._reconnect(device)
            else:
                break
        if reading.wall < self._walls.get(device, -math.inf):
            raise DeviceError(
                f"{device} was restarted while it was measured, which begins a new series. What was "
                "measured is kept; run the same command again."
            )
        self._walls[device] = reading.wall
        owner = open_device(device).fingerprint().id
        self._store.add_reading(self._campaign, owner, reading)
        return reading

    def _read(self, device: str) -> Reading:
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
        return Reading.of(answer, started, own)

    def _watch(self, device: str) -> None:
        """Start the device's watcher, which has the device to itself, once others are done with it."""
        watcher = self._watchers[device] = self._start_agent(device)
        me, said = f"process {os.getpid()} of {platform.node()}", ""
        while holder := watcher.ask("claim", owner=me)["holder"]:
            if holder != said:
                _LOG.warning("%s is being measured by %s, which is waited for.", device, holder)
                said = holder
            self._pause(_BETWEEN_CLAIMS)

    def _revive(self, target: Target) -> None:
        """Start the target's agent anew; it may have died since its device went away."""
        try:
            self._start(target)
        except Unreachable:
            self._reconnect(target.device)

    def _reconnect(self, device: str) -> None:
        """Start all agents of a device anew, as soon as it can be reached again."""
        until = time.monotonic() + AWAY_SECONDS
        _LOG.warning("%s cannot be reached; waiting for it.", device)
        while True:
            try:
                if device in self._watchers:
                    self._watch(device)
                for target in list(self._starts):
                    if target.device == device:
                        self._start(target)
            except Unreachable:
                if time.monotonic() > until:
                    raise
                self._pause(_BETWEEN_TRIES)
            else:
                return

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
                except Unreachable:
                    raise
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
        series = series_of(self._campaign, job.target.device)
        return self._store.subject(
            series, job.target, owner, job.architecture, job.workload, precision
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

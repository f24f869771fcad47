"""Stretches: the time between two readings of a device, judged as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable

from devices.device import open_device
from profiler.crew import Crew
from profiler.gate import LOADED, SLOW_MEMORY, STOLEN, THROTTLED, Gate
from profiler.job import Subject
from profiler.store import Store

SECONDS = 1.0  # of visits between two readings: counters tick a hundred times a second
FIRST_READINGS = 3  # before the first visit, so that a canary has a usual value to be compared with
LONGEST_WAIT = 8.0  # seconds to wait for a disturbance to end
# What comes and goes in seconds. A canary that is slow just flickers: the next visit may be quiet.
WORTH_WAITING = {LOADED, STOLEN, THROTTLED}
BETWEEN_LOOKS = 0.25


class Stretch:
    """Visits to one real device since its last reading."""

    def __init__(
        self,
        device: str,
        crew: Crew,
        gate: Gate,
        store: Store,
        pause: Callable[[float], None],
    ) -> None:
        self._device, self._crew, self._gate = device, crew, gate
        self._store, self._pause = store, pause
        caches = dict(open_device(device).fingerprint().caches)
        self._cache = caches.get("L2", 0)
        self._pending: list[tuple[Subject, int]] = []
        self._wait = LONGEST_WAIT
        for _ in range(FIRST_READINGS):
            self._look()

    def add(self, subject: Subject, number: int) -> None:
        """Take a visit in; it is judged when the stretch ends."""
        self._pending.append((subject, number))
        subject.pending += 1
        if time.monotonic() - self._began > SECONDS:
            self.end()

    def end(self) -> None:
        """Judge the visits taken in; after a disturbance wait for its end, for a while."""
        if not self._pending:
            return
        causes = self._look()
        for subject, number in self._pending:
            # A model that the cache of a core holds does not notice a slower memory.
            small = subject.job.size_bytes <= self._cache
            own = [cause for cause in causes if not (small and cause == SLOW_MEMORY)]
            self._store.judge_visit(number, own)
            subject.pending -= 1
            subject.quiet += not own
        self._pending.clear()
        if {*causes} & WORTH_WAITING:
            self._wait_for_quiet()

    def _look(self) -> tuple[str, ...]:
        causes = self._gate.add(self._crew.read(self._device))
        self._began = time.monotonic()
        return causes

    def _wait_for_quiet(self) -> None:
        """Each wait in vain halves the next: under a load that never ends nobody waits for long."""
        until = time.monotonic() + self._wait
        while time.monotonic() < until:
            self._pause(BETWEEN_LOOKS)
            if not {*self._look()} & WORTH_WAITING:
                self._wait = LONGEST_WAIT
                return
        self._wait /= 2

"""Hosts: what shares a machine is measured in one campaign, different machines side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from devices.target import Target
from profiler.job import Job
from profiler.store import Store

T = TypeVar("T")
Progress = Callable[[int, int], None]
Stop = Callable[[], bool]

_ELSEWHERE = {"ssh", "fleet"}  # kinds of devices that are machines of their own


def host_of(target: Target) -> str:
    """The machine that a target's work is done on; empty for this one."""
    return target.device if target.device.partition(":")[0] in _ELSEWHERE else ""


def on_each_host(
    work: Callable[[Sequence[Job], Store, Progress, Stop], list[T]],
    jobs: Sequence[Job],
    store: Store,
    progress: Progress,
    stop: Stop,
) -> list[T]:
    """What ``work`` makes of the jobs of every host, side by side; it waits most of the time.

    Where one fails the others stop at their next visit, and the failure is raised.
    """
    hosts: dict[str, list[Job]] = {}
    for job in jobs:
        hosts.setdefault(host_of(job.target), []).append(job)
    if len(hosts) < 2:
        return work(jobs, store, progress, stop)
    ended, told = threading.Event(), _Told(progress)

    def one(host: str) -> list[T]:
        try:
            with Store(store.path) as own:  # a connection serves one thread
                return work(hosts[host], own, told.part(host), lambda: ended.is_set() or stop())
        except BaseException:
            ended.set()
            raise

    with ThreadPoolExecutor(len(hosts)) as pool:
        futures = [pool.submit(one, host) for host in hosts]
        try:
            return [found for future in futures for found in future.result()]
        except BaseException:
            ended.set()
            raise


class _Told:
    """Progress of all hosts together, told by one of them at a time."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._lock = progress, threading.Lock()
        self._parts: dict[str, tuple[int, int]] = {}

    def part(self, host: str) -> Progress:
        def advance(done: int, total: int) -> None:
            with self._lock:
                self._parts[host] = (done, total)
                dones, totals = zip(*self._parts.values(), strict=True)
                self._progress(sum(dones), sum(totals))

        return advance

"""On a worker of a fleet: what devices.fleet asks of it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from devices.device import Device, open_device
from devices.receive import cache, make_room

T = TypeVar("T")

OFFERED = "CUTONCE_DEVICE"  # what a worker offers, if it is not its machine


class WorkerAgent:
    """An agent's process. What ends it does not wait for what is asked of it."""

    def __init__(self, name: str, program: bytes) -> None:
        self._place = tempfile.TemporaryDirectory()
        archive = Path(self._place.name) / name
        archive.write_bytes(program)
        self._process = offered().start(archive)

    def ask(self, line: bytes) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            return b""
        try:
            stdin.write(line)
            stdin.flush()
        except OSError:  # it ended
            return b""
        return stdout.readline()

    async def close(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    async def poll(self) -> int | None:
        return self._process.poll()

    async def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float | None) -> int | None:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    async def last_words(self) -> str:
        return self._process.last_words()


def offered() -> Device:
    """The device that this worker offers."""
    return open_device(os.environ.get(OFFERED, "local"))


def with_offered(work: Callable[[Device], T]) -> T:
    return work(offered())


def kept(key: str, names: Sequence[str]) -> str | None:
    """The directory of files that were kept under ``key``; None where one of them is not there."""
    place = cache() / key
    if not all((place / name).exists() for name in names):
        return None
    os.utime(place)
    return str(place)


def keep(key: str, files: Mapping[str, bytes]) -> str:
    """Keep files where this worker finds them; returns the directory."""
    place = cache() / key
    place.mkdir(parents=True, exist_ok=True)
    make_room(place, sum(map(len, files.values())))
    for name, data in files.items():
        unfinished = place / f".{name}.{os.getpid()}"
        unfinished.write_bytes(data)
        unfinished.replace(place / name)
    return str(place)

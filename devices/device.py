"""The device seam: a place that can run an agent, and how it is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from devices.errors import UnknownName
from devices.fingerprint import Fingerprint
from devices.registry import Registry
from devices.runtimes import Arrays


class AgentProcess(Protocol):
    """A started agent: a binary pipe pair, a way to end it, and what it said on its way out."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def poll(self) -> int | None: ...
    def kill(self) -> None: ...
    def wait(self, timeout: float | None = None) -> int: ...

    def last_words(self) -> str:
        """The end of what it wrote to standard error, once it has been waited for."""
        ...

    def lost(self) -> bool:
        """Whether the way to it was cut, rather than that it ended by itself."""
        ...


class Device(Protocol):
    """One place where sessions run."""

    name: str

    def physical_cores(self) -> int: ...

    def fingerprint(self) -> Fingerprint: ...

    def boot(self) -> str | None:
        """What tells this start of the machine from any other, where it does not matter None."""
        ...

    def runtimes(self) -> Mapping[str, str | None]:
        """Version of every known runtime, None where its package or its GPU is missing."""
        ...

    def start(self, archive: Path) -> AgentProcess:
        """Start the agent ``archive`` (a zipapp) in a process of its own.

        Raises:
            DeviceError: it cannot be started.
        """
        ...

    def put(self, path: Path) -> str:
        """Make a file of this machine, with its siblings, readable there; returns its place."""
        ...

    def run(
        self, runtime: str, path: Path, precision: str, threads: int, batches: Sequence[Arrays]
    ) -> list[list[np.ndarray[Any, Any]]]:
        """Load ``path`` in a fresh process, run every batch, return each batch's outputs.

        Raises:
            DeviceError: the process failed; the message holds what the runtime said.
        """
        ...


DEVICES = Registry(
    "device",
    {
        "local": "devices.local:LocalDevice",
        "ssh": "devices.ssh:SshDevice",
        "fleet": "devices.fleet:FleetDevice",
        "qemu": "devices.qemu:QemuDevice",
        "fake": "devices.fake:FakeDevice",
    },
)


@cache
def open_device(name: str) -> Device:
    """The device ``name``: ``local``, ``ssh:HOST``, ``fleet:NAME``, ``qemu:NAME`` or ``fake[:SEED]``.

    Raises:
        UnknownName: no such device, with the nearest.
    """
    kind, _, detail = name.partition(":")
    if kind not in DEVICES:
        raise UnknownName("device", name, DEVICES)
    device: Device = DEVICES.get(kind)(detail)
    return device

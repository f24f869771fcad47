"""A fleet on machines that SSH reaches, started by dask.distributed's own means.

A file names them, one a line: USER@HOST, or what ~/.ssh/config calls it, and behind it the device that
it is to be, if it is to be one. The scheduler runs on the first.

    pi@192.0.2.7 pi4
    bigbox

The engine connects through asyncssh, which goes by that configuration and by known_hosts.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices.errors import MissingDependency, Unreachable, UsageError
from devices.known import require_name


@dataclass(frozen=True)
class Host:
    """A machine of a fleet.

    Attributes:
        device: that it offers; None where it evaluates networks instead.
    """

    name: str
    user: str | None = None
    device: str | None = None

    @classmethod
    def parse(cls, line: str) -> Host:
        place, *rest = line.split()
        if len(rest) > 1:
            raise UsageError(f"Expected a host, and a device behind it or none, not {line!r}.")
        for device in rest:
            require_name(device)
        user, _, name = place.rpartition("@")
        return cls(name, user or None, *rest)


def read_hosts(path: Path) -> list[Host]:
    """The machines of a file; what stands behind # is left out.

    Raises UsageError: it names none, or one device twice.
    """
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    hosts = [Host.parse(line) for line in lines if line]
    devices = [host.device for host in hosts if host.device]
    if not hosts or len({*devices}) < len(devices):
        wrong = "names a device twice" if hosts else "names no host"
        raise UsageError(f"{path} {wrong}; write one host a line, and behind it its device.")
    return hosts


def start(hosts: Sequence[Host], python: str) -> Any:
    """The cluster, a context manager that ends it; its ``scheduler_address`` is where it is.

    Args:
        python: the command or path of Python on every machine, which has cutonce.

    Raises:
        Unreachable: a machine cannot be reached, or nothing starts there.
    """
    try:
        import asyncssh  # noqa: F401 - which the engine only misses when it connects
        from distributed import SpecCluster
        from distributed.deploy.ssh import Scheduler, Worker
    except ImportError as error:
        raise MissingDependency(
            "A fleet over SSH needs dask.distributed and asyncssh; install them with: pip install "
            '"cutonce[fleet]".'
        ) from error
    workers = {
        number: {"cls": Worker, "options": {**_reached(host, python), "kwargs": _offered(host)}}
        for number, host in enumerate(hosts)
    }
    first = {"kwargs": {"port": 0, "dashboard": False}, **_reached(hosts[0], python)}
    try:
        return SpecCluster(workers, {"cls": Scheduler, "options": first}, silence_logs=50)
    except Exception as error:  # asyncssh's and the engine's own
        cause = error.__cause__ or error
        raise Unreachable(
            f"The fleet did not start ({type(cause).__name__}: {cause}). Every host must be reached by "
            f"`ssh HOST` without being asked anything, and have cutonce[fleet] for {python} (--python)."
        ) from error


def _reached(host: Host, python: str) -> dict[str, Any]:
    options = {} if host.user is None else {"username": host.user}
    return {
        "address": host.name,
        "connect_options": options,
        "remote_python": shlex.quote(python),  # which a shell there reads
    }


def _offered(host: Host) -> dict[str, Any]:
    """One measurement at a time on a device; all cores where networks are evaluated."""
    return {} if host.device is None else {"nthreads": 1, "resources": {host.device: 1}}

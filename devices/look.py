"""What a machine is and has, asked on the machine itself.

Travels to other machines, so it imports the standard library alone, and numpy where it is.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devices.fingerprint import Fingerprint, local_fingerprint
from devices.packages import installed_version

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Look:
    """What was found.

    Attributes:
        fingerprint: who it is. python: its version, of the Python that was started.
        numpy: version, None where it is missing; without it nothing runs there.
        runtimes: version of every known runtime, None where its package or its GPU is missing.
        cores: physical ones, or fewer where the process may use fewer (containers, taskset).
        clock: its Unix seconds. boot: tells this start of it from any other, None where it does not say.
    """

    fingerprint: Fingerprint
    python: str
    numpy: str | None
    runtimes: dict[str, str | None]
    cores: int
    clock: float
    boot: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Look:
        return cls(**{**data, "fingerprint": Fingerprint.from_json(data["fingerprint"])})


def look_here() -> Look:
    """At this machine, through this Python."""
    here, numpy = local_fingerprint(), installed_version("numpy")
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else here.cores
    return Look(
        fingerprint=here,
        python=platform.python_version(),
        numpy=numpy,
        runtimes=_runtimes(here) if numpy else {},
        cores=min(here.cores, allowed),
        clock=time.time(),
        boot=_boot(),
    )


def _boot() -> str | None:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return None


def _runtimes(here: Fingerprint) -> dict[str, str | None]:
    from devices.runtimes import RUNTIMES  # needs numpy

    real = {name: RUNTIMES.get(name)() for name in RUNTIMES if name != "fake"}
    return {
        name: None if runtime.gpu and not here.gpu else runtime.version()
        for name, runtime in real.items()
    }

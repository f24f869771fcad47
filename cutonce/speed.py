"""How fast a device computes and reads memory: what an estimate for another device goes by."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from devices.device import open_device
from devices.target import Target
from predictors.transfer import Speed
from profiler.archive import build_archive
from profiler.client import AgentClient


def probe_speed(target: Target) -> Speed | None:
    """Of one core of a target's device, by a probe of five seconds; None where times are computed rather
    than taken.

    Raises:
        DeviceError: the device cannot be reached.
    """
    if target.virtual:
        return None
    with TemporaryDirectory() as place:
        archive = build_archive(Path(place) / "agent.pyz")
        with AgentClient(open_device(target.device), archive) as agent:
            return Speed(**agent.ask("speed"))

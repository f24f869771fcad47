"""How fast a device computes and reads memory: what an estimate for another device goes by."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from devices.device import open_device
from predictors.transfer import Speed
from profiler.archive import build_archive
from profiler.client import AgentClient

VIRTUAL = "fake"


def probe_speed(device: str) -> Speed | None:
    """Of one core, by a probe of five seconds; None where times are computed rather than taken.

    Raises:
        DeviceError: the device cannot be reached.
    """
    if device.partition(":")[0] == VIRTUAL:
        return None
    with TemporaryDirectory() as place:
        archive = build_archive(Path(place) / "agent.pyz")
        with AgentClient(open_device(device), archive) as agent:
            return Speed(**agent.ask("speed"))

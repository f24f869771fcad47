"""The agent as one file that any Python with numpy and a runtime can start."""

from __future__ import annotations

import zipfile
from pathlib import Path

import devices
import devices.runtimes
import profiler.agent

_STAMP = (1980, 1, 1, 0, 0, 0)  # the same bytes from the same sources


def build_archive(path: Path) -> Path:
    """Write the agent's zipapp to ``path``: the agent, and what it imports of ``devices``."""
    room = Path(devices.__path__[0])
    runtimes = sorted((room / "runtimes").glob("*.py"))
    alone = [
        room / f"{name}.py"
        for name in ("__init__", "counters", "errors", "gpu", "offline", "registry")
    ]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            zipfile.ZipInfo("__main__.py", _STAMP), Path(profiler.agent.__file__).read_bytes()
        )
        for source in [*alone, *runtimes]:
            name = f"devices/{source.relative_to(room)}"
            archive.writestr(zipfile.ZipInfo(name, _STAMP), source.read_bytes())
    return path

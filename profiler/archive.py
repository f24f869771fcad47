"""The agent as one file that any Python with numpy and a runtime can start."""

from __future__ import annotations

import zipfile
from pathlib import Path

import devices
import devices.runtimes
import profiler.agent

_DEVICES = (
    "__init__",
    "counters",
    "energy",
    "errors",
    "gpu",
    "offline",
    "packages",
    "precision",
    "registry",
)
_PROFILER = ("__init__", "streams")
_STAMP = (1980, 1, 1, 0, 0, 0)  # the same bytes from the same sources


def build_archive(path: Path) -> Path:
    """Write the agent's zipapp to ``path``: the agent, and what it imports."""
    room, agent = Path(devices.__path__[0]), Path(profiler.agent.__file__)
    sources = {"__main__.py": agent}
    sources |= {f"profiler/{name}.py": agent.with_name(f"{name}.py") for name in _PROFILER}
    sources |= {f"devices/{name}.py": room / f"{name}.py" for name in _DEVICES}
    for runtime in sorted((room / "runtimes").glob("*.py")):
        sources[f"devices/runtimes/{runtime.name}"] = runtime
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in sources.items():
            archive.writestr(zipfile.ZipInfo(name, _STAMP), source.read_bytes())
    return path

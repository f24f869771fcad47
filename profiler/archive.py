"""The agent as one file that any Python with numpy and a runtime can start."""

from __future__ import annotations

from pathlib import Path

import devices.archive
import profiler.agent

_PROFILER = ("__init__", "streams")


def build_archive(path: Path) -> Path:
    """Write the agent's zipapp to ``path``: the agent, and what it imports."""
    agent = Path(profiler.agent.__file__)
    others = {f"profiler/{name}.py": agent.with_name(f"{name}.py") for name in _PROFILER}
    return devices.archive.build_archive(path, agent, others)

"""This room as one file that any Python can start, on any machine: a zipapp."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import devices

_MODULES = (
    "__init__", "claim", "counters", "energy", "errors", "fingerprint", "gpu", "look", "offline",
    "packages", "pipes", "precision", "registry", "runner",
)  # fmt: skip
_STAMP = (1980, 1, 1, 0, 0, 0)  # the same bytes from the same sources


def build_archive(path: Path, main: Path, others: Mapping[str, Path]) -> Path:
    """Write a zipapp to ``path`` that starts ``main``, with the runtimes and what they import.

    Args:
        others: modules of other rooms, by their place in the archive.
    """
    room = Path(devices.__path__[0])
    sources = {"__main__.py": main, **others}
    sources |= {f"devices/{name}.py": room / f"{name}.py" for name in _MODULES}
    for runtime in sorted((room / "runtimes").glob("*.py")):
        sources[f"devices/runtimes/{runtime.name}"] = runtime
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in sources.items():
            archive.writestr(zipfile.ZipInfo(name, _STAMP), source.read_bytes())
    return path


def build_runner(path: Path) -> Path:
    """Write the zipapp of :mod:`devices.runner`."""
    return build_archive(path, Path(devices.__path__[0]) / "runner.py", {})

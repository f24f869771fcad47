"""What is installed here, without importing it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def installed_version(package: str) -> str | None:
    """Version of a Python package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def node_module(name: str) -> Path | None:
    """Where Node finds a module: in the working directory, above it, or in NODE_PATH."""
    return next((place for place in _places(name) if (place / "package.json").is_file()), None)


def module_version(name: str) -> str | None:
    """Version of a module of Node's; None where there is no Node, or it finds none that is whole."""
    place = node_module(name)
    if place is None or shutil.which("node") is None:
        return None
    try:
        return str(json.loads((place / "package.json").read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError):
        return None


def _places(name: str) -> Iterator[Path]:
    try:
        here = Path.cwd()
    except OSError:  # it was removed
        return
    for directory in (here, *here.parents):
        yield directory / "node_modules" / name
    for text in filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep)):
        yield Path(text) / name

"""What `cutonce export` has left in a run directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices.errors import ArtifactError


@dataclass(frozen=True)
class Shown:
    """One artifact directory; ``fault`` says why its reports cannot be shown."""

    name: str
    target: str = ""
    reports: Mapping[str, Any] | None = None
    fault: str = ""


def read_artifacts(run: Path) -> list[Shown]:
    """Every directory of ``run``/artifacts by name; a damaged one is listed with its fault."""
    place = run / "artifacts"
    if not place.is_dir():
        return []
    # A name that begins with a dot is an export under way, or what a killed one left.
    found = (path for path in place.iterdir() if path.is_dir() and path.name[0] != ".")
    return [_read(path) for path in sorted(found)]


def _read(path: Path) -> Shown:
    from deploy.artifact import Artifact

    try:
        artifact = Artifact.open(path)
        return Shown(path.name, str(artifact.target), artifact.reports)
    except ArtifactError as error:
        return Shown(path.name, fault=str(error))

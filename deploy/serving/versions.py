"""What the repositories of model servers have in common: ``NAME/VERSION/MODEL``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.artifact import Artifact
from devices.errors import UsageError
from devices.files import whole_directory

VERSION = "1"
"""Of every model: an artifact has no later one."""
OURS = {VERSION, "config.pbtxt"}


def require_runtime(artifact: Artifact, runtime: str, server: str) -> None:
    """Raises UsageError where the artifact is for another runtime."""
    if artifact.target.runtime != runtime:
        raise UsageError(
            f"{artifact.directory} is for {artifact.target.runtime}; {server} runs what was exported "
            f"for {runtime}: `cutonce export … --target {artifact.target.device}/{runtime}/"
            f"{artifact.target.precision}`."
        )


@contextmanager
def model_directory(artifact: Artifact, directory: Path) -> Iterator[Path]:
    """A model's directory, whole or not at all, in which the exported files lie as ``1/model.*``; what
    else belongs there is written in the block. One that holds no more than such is replaced.

    Raises:
        UsageError: ``directory`` holds something else, such as another version.
        ArtifactChanged: a file of the artifact is not the one that was written.
    """
    artifact.check_hashes()
    others = {path.name for path in directory.iterdir()} - OURS if directory.exists() else set()
    if others:
        raise UsageError(
            f"{directory} holds {', '.join(sorted(others))}, which publish did not put there and would "
            "remove; give another --name, or move them away."
        )
    with whole_directory(directory) as place:
        version = place / VERSION
        version.mkdir()
        for file in artifact.exported.files:
            shutil.copyfile(file, version / f"model{file.suffix}")
        yield place

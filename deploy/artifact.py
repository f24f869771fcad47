"""The artifact: one directory with a model for one target, its hashes and its proofs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from deploy.architecture import Architecture
from deploy.exporters import Exported
from deploy.manifest import MANIFEST, SCHEMA, build_manifest, files_in, identity, readme, versions
from deploy.materials import FILE as MATERIALS
from deploy.materials import bill_of_materials
from deploy.tokens import place_tokenizer
from deploy.workload import Workload
from devices.errors import ArtifactChanged, ArtifactError, UsageError
from devices.files import sha256, whole_directory, write_json
from devices.runtimes import RUNTIMES, Runtime, Session
from devices.target import Target

if TYPE_CHECKING:
    from deploy.encoder import Encoder

RUN_TEMPLATE = Path(__file__).with_name("run_template.py")


@dataclass(frozen=True)
class Artifact:
    """An opened artifact; ``manifest`` is its manifest.json."""

    directory: Path
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, directory: Path) -> Artifact:
        """Read the manifest; the files are not looked at before :meth:`check_hashes`.

        Raises:
            ArtifactError: there is no manifest, or one of another schema.
            ArtifactChanged: it is damaged, or not the one that was written.
        """
        path = directory / MANIFEST
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            artifact = cls(directory, manifest)
            schema = manifest["schema"]
            if schema == SCHEMA:
                artifact._check_manifest()
        except OSError as error:
            raise ArtifactError(
                f"{directory} is not an artifact: {MANIFEST} cannot be read ({error.strerror}); "
                "give a directory that `cutonce export` wrote."
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
            raise ArtifactChanged(
                f"{path} is damaged ({type(error).__name__}: {error}); export the artifact again."
            ) from error
        if schema != SCHEMA:
            raise ArtifactError(
                f"{path} has schema {schema!r} where {SCHEMA} was expected; use the version of "
                "cutonce that wrote it."
            )
        return artifact

    def _check_manifest(self) -> None:
        """Touch every field that the properties read; what is missing raises here."""
        for file in self.manifest["files"]:
            path = PurePosixPath(file["path"])
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"file {file['path']!r} lies outside")
            _ = file["sha256"], file["bytes"], file["role"]
        _ = self.target, self.workload, self.architecture, self.exported
        _ = self.manifest["label_names"], self.manifest["signature"]
        if self.exported.path not in self.exported.files:
            raise ValueError(f"model {self.manifest['model']!r} is not among its files")
        if self.manifest["id"] != identity(self.manifest):
            raise ValueError("its id is not that of what it says")

    @property
    def target(self) -> Target:
        return Target(**self.manifest["target"])

    @property
    def workload(self) -> Workload:
        return Workload.from_json(self.manifest["workload"])

    @property
    def architecture(self) -> Architecture:
        return Architecture.from_json(self.manifest["architecture"])

    @property
    def exported(self) -> Exported:
        """The file that the runtime loads, and what belongs to it."""
        path = self.directory / self.manifest["model"]
        return Exported(path, tuple(self._files("model")), self.directory)

    @property
    def reports(self) -> dict[str, Any]:
        """What ``reports/`` holds, by name. Raises ArtifactChanged where a report is damaged."""
        found = {}
        for path in self._files("report"):
            try:
                found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ArtifactChanged(
                    f"{path} cannot be read ({error}); export it again."
                ) from error
        return found

    def encoder(self) -> Encoder:
        """The model in its canonical form, in evaluation mode. Raises ModelError."""
        from deploy.encoder import Encoder

        return Encoder.from_pretrained(self.directory)

    def load(self, *, alone: bool = True) -> Session:
        """The exported file, loaded in this process as its target says.

        Args:
            alone: see :meth:`devices.runtimes.Runtime.load`.

        Raises:
            ArtifactChanged: a file is not the one that was written.
            DeviceError, MissingDependency: it cannot be loaded here.
        """
        self.check_hashes()
        target = self.target
        runtime: Runtime = RUNTIMES.get(target.runtime)()
        return runtime.load(self.exported.path, target.precision, target.threads, alone)

    def check_hashes(self) -> None:
        """Raises ArtifactChanged naming the first file that is missing, differs or is not listed."""
        for file in self.manifest["files"]:
            path = self.directory / file["path"]
            if not path.is_file():
                raise ArtifactChanged(f"{path} is missing; copy or export the artifact again.")
            if path.stat().st_size != file["bytes"] or sha256(path) != file["sha256"]:
                raise ArtifactChanged(
                    f"{path} is not the file that the manifest describes; copy or export the "
                    "artifact again."
                )
        listed = {self.directory / file["path"] for file in self.manifest["files"]}
        for path in files_in(self.directory):
            if path not in listed:
                raise ArtifactChanged(f"{path} does not belong to the artifact; remove it.")

    def _files(self, role: str) -> list[Path]:
        files = self.manifest["files"]
        return [self.directory / file["path"] for file in files if file["role"] == role]


def write_artifact(
    directory: Path,
    *,
    encoder: Encoder,
    target: Target,
    exported: Exported,
    tokenizer: Path | None,
    workload: Workload,
    reports: Mapping[str, Any],
    source: str,
    max_length: int,
) -> Artifact:
    """Write an artifact, whole or not at all; an older artifact in its place is replaced.

    Args:
        exported: what :func:`deploy.exporters.export_variant` wrote for ``target``.
        tokenizer: a directory with a tokenizer, see :func:`deploy.tokens.place_tokenizer`.
        reports: name to JSON; ``parity``, ``latency`` and ``metrics`` are customary.
        source: what the user called the model that this was made from.
        max_length: tokens at which run.py cuts a text.

    Raises:
        UsageError: ``directory`` exists and is no artifact.
        ModelError: ``tokenizer`` holds no tokenizer that run.py can read.
    """
    check_place(directory)
    architecture = encoder.architecture
    with whole_directory(directory) as place:
        encoder.save_pretrained(place)
        for file in exported.files:
            _copy(file, place / file.relative_to(exported.root))
        if tokenizer is not None:
            place_tokenizer(tokenizer, place)
        for name, report in reports.items():
            write_json(place / "reports" / f"{name}.json", report)
        _copy(RUN_TEMPLATE, place / "run.py")
        text = readme(architecture, target, workload, source, reports)
        (place / "README.md").write_text(text, encoding="utf-8")
        needed = ("numpy", "tokenizers", *RUNTIMES.get(target.runtime).packages)
        write_json(place / MATERIALS, bill_of_materials(exported.path, needed, versions()))
        manifest = build_manifest(
            place,
            architecture=architecture,
            label_names=encoder.label_names,
            target=target,
            workload=workload,
            exported=exported,
            source=source,
            max_length=max_length,
        )
        write_json(place / MANIFEST, manifest)
    return Artifact.open(directory)


def check_place(directory: Path) -> None:
    """Raises UsageError where :func:`write_artifact` would refuse to write to ``directory``."""
    if directory.exists() and not _replaceable(directory):
        raise UsageError(f"{directory} exists and is not an artifact; name another directory.")


def _replaceable(directory: Path) -> bool:
    if not directory.is_dir():
        return False
    try:
        Artifact.open(directory)
    except ArtifactError:
        return not any(directory.iterdir())
    return True


def _copy(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, destination)

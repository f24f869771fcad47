"""What an artifact says of itself: manifest.json and README.md."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Container, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.architecture import Architecture
from deploy.costs import parameters
from deploy.exporters import Exported
from deploy.materials import FILE as MATERIALS
from deploy.workload import Workload
from devices.files import sha256
from devices.runtimes import INPUTS, RUNTIMES
from devices.target import Target

SCHEMA = 2
MANIFEST = "manifest.json"
_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "nncf",
    "numpy",
)
_PIPELINES = {
    "classification": "text-classification",
    "multi-label": "text-classification",
    "regression": "text-classification",
    "token-classification": "token-classification",
    "question-answering": "question-answering",
    "masked-language-model": "fill-mask",
    "embedding": "feature-extraction",
}
"""What a hub calls the tasks of a model's outputs."""
_ROLES = {
    "config.json": "encoder",
    "model.safetensors": "encoder",
    "run.py": "script",
    "README.md": "readme",
    MATERIALS: "materials",
}


def build_manifest(
    directory: Path,
    *,
    architecture: Architecture,
    label_names: tuple[str, ...],
    target: Target,
    workload: Workload,
    exported: Exported,
    source: str,
    max_length: int,
) -> dict[str, Any]:
    """The manifest of everything that lies in ``directory``, what was ``exported`` there as it was."""
    names = [
        file.relative_to(exported.root).as_posix() for file in (exported.path, *exported.files)
    ]
    manifest = {
        "schema": SCHEMA,
        "source": source,
        "architecture": architecture.to_json(),
        "label_names": list(label_names),
        "target": asdict(target),
        "workload": workload.to_json(),
        "model": names[0],
        "signature": _signature(architecture, max_length),
        "versions": versions(),
        "files": [_entry(path, directory, names) for path in files_in(directory)],
    }
    return {**manifest, "id": identity(manifest)}


def identity(manifest: Mapping[str, Any]) -> str:
    """A hash of all that a manifest says but its ``id``, which is this."""
    said = {name: value for name, value in manifest.items() if name != "id"}
    written = json.dumps(said, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(written.encode()).hexdigest()


def files_in(directory: Path) -> list[Path]:
    """Every file below ``directory`` except the manifest, sorted; not the hidden ones, in which git and
    the hub's client keep what is theirs."""
    return sorted(
        path
        for path in directory.rglob("*")
        if path.is_file()
        and path != directory / MANIFEST
        and not path.relative_to(directory).parts[0].startswith(".")
    )


def _entry(path: Path, directory: Path, model: Container[str]) -> dict[str, Any]:
    name = path.relative_to(directory).as_posix()
    other = "report" if name.startswith("reports/") else _ROLES.get(name, "tokenizer")
    role = "model" if name in model else other
    return {"path": name, "sha256": sha256(path), "bytes": path.stat().st_size, "role": role}


def _signature(architecture: Architecture, max_length: int) -> dict[str, Any]:
    shape = ["batch", "sequence"]
    width = architecture.labels or architecture.widths[-1]
    if architecture.output == "masked-language-model":
        width = architecture.vocabulary
    axes = shape if architecture.per_token else shape[:1]
    return {
        "inputs": [{"name": name, "dtype": "int64", "shape": shape} for name in INPUTS],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": [*axes, width]}],
        "answer": architecture.output,
        "dynamic": {"batch": {"min": 1}, "sequence": {"min": 1, "max": architecture.positions}},
        "max_length": max_length,
        "padding": "right",
    }


def versions() -> dict[str, str]:
    """Of Python and of every installed package that has a part in an export."""
    found = {"python": platform.python_version()}
    for package in ("cutonce", *_PACKAGES):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def readme(
    architecture: Architecture,
    target: Target,
    workload: Workload,
    source: str,
    reports: Mapping[str, Any],
) -> str:
    """A page that says what this is and how to run it, with what a model hub files it under."""
    from huggingface_hub import ModelCardData

    filed = ModelCardData(
        library_name="cutonce",
        pipeline_tag=_PIPELINES[architecture.output],
        tags=[target.runtime, target.precision],
    )
    packages = " ".join(RUNTIMES.get(target.runtime).packages)
    latency, metrics = reports.get("latency") or {}, reports.get("metrics") or {}
    lines = [
        "---",
        filed.to_yaml(),
        "---",
        "",
        f"# {Path(source).name} for {target}",
        "",
        f"A text encoder cut by cutonce from `{source}`: {architecture}, "
        f"{parameters(architecture):,} parameters, for {workload}.",
        "",
    ]
    if not reports.get("parity"):
        lines.append(
            "Nothing of it was run where it was made: `cutonce verify .` proves it where it runs."
        )
    if "intrinsic" in latency:
        lines.append(
            f"* Measured: {latency['intrinsic']:.3g} ms intrinsic, {latency['p90']:.3g} ms p90."
        )
    lines += [f"* {name}: {value:.4g}" for name, value in metrics.items() if name != "n"]
    lines += [
        "",
        "```",
        f"pip install numpy tokenizers {packages}",
        'python run.py "some text"',
        "cutonce verify .",
        "```",
        "",
        "`manifest.json` names every file with its hash, the inputs and outputs, and the versions",
        "that made this; `reports/` holds the proofs; `config.json` and `model.safetensors` are",
        "the same encoder in its canonical form. After `import deploy.auto_model`, which comes with",
        "cutonce, transformers' auto classes and pipelines load this directory and answer by the",
        "exported file; `cutonce serve .` answers by the Open Inference Protocol.",
        "",
    ]
    return "\n".join(lines)

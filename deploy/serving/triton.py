"""The model repository of NVIDIA's Triton Inference Server."""

from __future__ import annotations

from pathlib import Path

from deploy.artifact import Artifact
from deploy.serving.versions import model_directory, require_runtime
from devices.files import write_text

_TYPES = {"int64": "TYPE_INT64", "float32": "TYPE_FP32"}


def write_triton(artifact: Artifact, repository: Path, name: str) -> Path:
    """Write ``NAME/config.pbtxt`` and ``NAME/1/model.onnx`` below ``repository``; returns ``NAME``.

    Serve it with ``tritonserver --model-repository=REPOSITORY``.

    Raises:
        UsageError: the artifact is not for onnxruntime, in which Triton would run it as it was proved.
        ArtifactChanged: a file of it is not the one that was written.
    """
    require_runtime(artifact, "onnxruntime", "Triton")
    with model_directory(artifact, repository / name) as place:
        write_text(place / "config.pbtxt", _config(artifact, name))
    return repository / name


def _config(artifact: Artifact, name: str) -> str:
    """The whole shapes are given, the batch among them: Triton is to put no requests together."""
    signature, target = artifact.manifest["signature"], artifact.target
    lines = [f'name: "{name}"', 'backend: "onnxruntime"', "max_batch_size: 0"]
    for kind in ("input", "output"):
        for entry in signature[f"{kind}s"]:
            dims = ", ".join(str(size if isinstance(size, int) else -1) for size in entry["shape"])
            lines.append(
                f'{kind} {{ name: "{entry["name"]}" data_type: {_TYPES[entry["dtype"]]} '
                f"dims: [ {dims} ] }}"
            )
    lines.append(f"instance_group {{ count: {target.streams} kind: KIND_CPU }}")
    for key, value in (("intra_op_thread_count", target.threads), ("inter_op_thread_count", 1)):
        lines.append(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}')
    return "\n".join(lines) + "\n"

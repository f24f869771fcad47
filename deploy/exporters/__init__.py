"""Exporters: each writes the file that one runtime loads. One file per format.

In scope: tracing, converting, quantising, and writing whole files or none. Out of scope: running
them (devices.runtimes), proving them (deploy.parity), and elasticity: what comes in is an Encoder.

Every exporter writes into a root directory with a fixed layout, so that formats which share a graph
share its file, and an artifact can be told apart by its paths:

    model.onnx with model.safetensors, in which its weights are
    onnx/model.onnx, model_int8.onnx, model_int8_static.onnx and model_int8_reduced.onnx
    mobile/model.ort, model_int8.ort, …, each with .required_operators_and_types.config
    openvino/openvino_model.xml and .bin, openvino/openvino_model_int8.xml and .bin
    tensorrt/model_fp16.onnx, model_bf16.onnx and model_int8.onnx, profiles.json and build.sh
    torch/model.pt2, torch/model_bf16.pt2, torch/model_fp16.pt2
    aotinductor/model.pt2 and model_bf16.pt2
    executorch/model.pte
    fake/model.onnx and model.costs.json, fake/model_int8.onnx and model_int8.costs.json

A file that is there already is taken as it is: one root belongs to one encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from devices.errors import UnknownName
from devices.registry import Registry
from devices.runtimes import RUNTIMES, Arrays

if TYPE_CHECKING:
    from deploy.encoder import Encoder


@dataclass(frozen=True)
class Exported:
    """A finished export.

    Attributes:
        path: the file that the runtime loads.
        files: everything that belongs to it, ``path`` included.
        root: the directory whose layout they keep.
    """

    path: Path
    files: tuple[Path, ...]
    root: Path

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.stat().st_size for file in self.files)


class Exporter(Protocol):
    """Writes files of one format.

    Attributes:
        calibrated: precisions with scales that are taken from calibration batches.
    """

    calibrated: tuple[str, ...]

    def export(
        self, encoder: Encoder, precision: str, directory: Path, calibration: Sequence[Arrays]
    ) -> Exported:
        """Write ``encoder`` below ``directory``, or find it there.

        Args:
            calibration: batches that an int8 exporter with static scales runs; others ignore it.

        Raises:
            UsageError: static scales are asked for without calibration batches.
            MissingDependency: an optional package is not installed.
        """
        ...


EXPORTERS = Registry(
    "runtime",
    {
        "torch": "deploy.exporters.to_torch:TorchExporter",
        "torch-compiled": "deploy.exporters.to_torch:TorchExporter",
        "torch-aotinductor": "deploy.exporters.to_aotinductor:AotInductorExporter",
        "torch-cuda": "deploy.exporters.to_torch:TorchExporter",
        "executorch": "deploy.exporters.to_executorch:ExecuTorchExporter",
        "tensorrt": "deploy.exporters.to_tensorrt:TensorRtExporter",
        "onnxruntime": "deploy.exporters.to_onnx:SharingOnnxExporter",
        "onnxruntime-mobile": "deploy.exporters.to_ort_format:OrtFormatExporter",
        "onnxruntime-web": "deploy.exporters.to_onnx:OnnxExporter",
        "openvino": "deploy.exporters.to_openvino:OpenVinoExporter",
        "fake": "deploy.exporters.to_fake:FakeExporter",
    },
)


def takes_calibration(runtime: str, precision: str) -> bool:
    """Whether an export takes scales from calibration batches."""
    return precision in EXPORTERS.get(runtime).calibrated


def check_variant(runtime: str, precision: str) -> None:
    """Raises UnknownName for a runtime or a precision of it that is not known."""
    if runtime not in EXPORTERS:
        raise UnknownName("runtime", runtime, EXPORTERS)
    known = RUNTIMES.get(runtime).precisions
    if precision not in known:
        raise UnknownName(f"precision of {runtime}", precision, known)


def export_variant(
    encoder: Encoder,
    runtime: str,
    precision: str,
    directory: Path,
    calibration: Sequence[Arrays] = (),
) -> Exported:
    """Export ``encoder`` for one runtime and precision, below the root ``directory``.

    The encoder is left as it was found: mode, device and weights.

    Raises:
        UnknownName: a runtime or precision that is not known.
        UsageError, MissingDependency: see :meth:`Exporter.export`.
    """
    check_variant(runtime, precision)
    exporter: Exporter = EXPORTERS.get(runtime)()
    return exporter.export(encoder, precision, directory, calibration)

"""OpenVINO IR from the ONNX graph; int8 by NNCF's post-training quantisation for transformers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.encoder import Encoder
from deploy.exporters import Exported
from deploy.exporters.staging import silence, staged
from deploy.exporters.to_onnx import export_graph
from devices.errors import MissingDependency, UsageError
from devices.offline import silence_telemetry
from devices.precision import PRECISIONS
from devices.runtimes import Arrays

SUBSET = 128
"""Calibration batches used at most; more changes the scales little and the time much."""

# NNCF 3.4 fixes the length of depthwise convolutions at that of the calibration batches: another length
# then gives an empty answer. They are a small part of the work.
_UNQUANTISED = ("GroupConvolution",)


class OpenVinoExporter:
    """``openvino/openvino_model.xml`` with ``.bin``.

    fp32 and bf16 share one float32 file, int8 and int8-bf16 one with scales, since the runtime's
    precision hint decides what the rest is computed in.
    """

    calibrated = ("int8", "int8-bf16")

    def export(
        self, encoder: Encoder, precision: str, directory: Path, calibration: Sequence[Arrays]
    ) -> Exported:
        openvino = _vendor("openvino")
        path = directory / "openvino" / "openvino_model.xml"
        if not path.exists():
            with silence():
                model = openvino.Core().read_model(export_graph(encoder, directory))
            _save(openvino, model, path)
        if PRECISIONS[precision].quantised:
            path = _quantise(openvino, path, calibration)
        return Exported(path, (path, path.with_suffix(".bin")))


def _quantise(openvino: Any, source: Path, calibration: Sequence[Arrays]) -> Path:
    path = source.with_name("openvino_model_int8.xml")
    if path.exists():
        return path
    if not calibration:
        raise UsageError(
            "OpenVINO int8 needs calibration batches to find its scales; give some of the task's "
            "texts (--data), or random ids where only latency counts."
        )
    nncf = _vendor("nncf")
    used = [dict(batch) for batch in calibration[:SUBSET]]
    with silence():
        model = nncf.quantize(
            openvino.Core().read_model(source),
            nncf.Dataset(used),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(types=list(_UNQUANTISED), validate=False),
            subset_size=len(used),
        )
    _save(openvino, model, path)
    return path


def _save(openvino: Any, model: Any, path: Path) -> None:
    _count_names_anew(model)
    # The .xml comes last: where it is present the .bin is too.
    with staged([path.with_suffix(".bin"), path]) as (_, place):
        openvino.save_model(model, place, compress_to_fp16=False)


def _count_names_anew(model: Any) -> None:
    """The names that OpenVINO makes up count what its process has made so far; the file is to repeat."""
    for number, node in enumerate(model.get_ordered_ops()):
        kind = node.get_type_name()
        if re.fullmatch(rf"{kind}_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{kind}_{number}")


def _vendor(name: str) -> Any:
    """Import ``openvino`` or ``nncf``. Raises MissingDependency with the pip line."""
    silence_telemetry()
    try:
        with silence():
            return __import__(name)
    except ImportError as error:
        raise MissingDependency(
            f'This export needs {name}; install it with: pip install "cutonce[openvino]".'
        ) from error

"""OpenVINO IR from the ONNX graph."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.encoder import Encoder
from deploy.exporters import Exported
from deploy.exporters.openvino_int8 import quantised
from deploy.exporters.staging import silence, staged
from deploy.exporters.to_onnx import export_graph
from devices.errors import MissingDependency
from devices.offline import silence_telemetry
from devices.precision import PRECISIONS
from devices.runtimes import Arrays


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
            source, path = path, path.with_name("openvino_model_int8.xml")
            if not path.exists():
                _save(openvino, quantised(openvino, _vendor("nncf"), source, calibration), path)
        return Exported(path, (path, path.with_suffix(".bin")), directory)


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

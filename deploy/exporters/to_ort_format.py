"""The format of onnxruntime's reduced builds for phones and boards: graphs as they are when optimised."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploy.encoder import Encoder
from deploy.exporters import Exported
from deploy.exporters.onnx_int8 import quantise
from deploy.exporters.ort_format_order import in_order
from deploy.exporters.staging import silence, staged
from deploy.exporters.to_onnx import export_graph
from devices.offline import silence_telemetry
from devices.precision import PRECISIONS
from devices.runtimes import Arrays


class OrtFormatExporter:
    """``mobile/model.ort`` and its 8-bit twins. The file beside it lists the operators and types that a
    reduced build has to hold (``build.sh --include_ops_by_config``)."""

    calibrated: tuple[str, ...] = ()

    def export(
        self, encoder: Encoder, precision: str, directory: Path, calibration: Sequence[Arrays]
    ) -> Exported:
        source = export_graph(encoder, directory)
        if PRECISIONS[precision].quantised:
            source = quantise(source, precision, calibration)
        path = directory / "mobile" / f"{source.stem}.ort"
        operators = path.with_name(f"{source.stem}.required_operators_and_types.config")
        if not path.exists():
            _convert(source, path, operators)
        return Exported(path, (path, operators), directory)


def _convert(source: Path, path: Path, operators: Path) -> None:
    silence_telemetry()
    from onnxruntime.tools.convert_onnx_models_to_ort import (
        OptimizationStyle,
        convert_onnx_models_to_ort,
    )

    # The graph comes last: where it is present the list is too.
    with staged([operators, path]) as (listed, place), silence():
        convert_onnx_models_to_ort(
            source,
            output_dir=place.parent,
            optimization_styles=[OptimizationStyle.Fixed],
            enable_type_reduction=True,
        )
        place.write_bytes(in_order(place.read_bytes()))
        kept = [line for line in listed.read_text().splitlines() if not line.startswith("#")]
        listed.write_text("\n".join(kept) + "\n")  # a comment names a path of this machine

"""8-bit twins of the ONNX graph, by onnxruntime's own quantisers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx

from deploy.exporters.staging import silence, staged
from devices.errors import UsageError
from devices.offline import silence_telemetry
from devices.runtimes import Arrays

_NAMES = {
    "int8": "model_int8.onnx",
    "int8-static": "model_int8_static.onnx",
    "int8-reduced": "model_int8_reduced.onnx",
}
_SYMMETRIC = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": True,
}


def quantise(source: Path, precision: str, calibration: Sequence[Arrays]) -> Path:
    """The twin of ``source`` beside it: products with weights in signed 8-bit weights per output channel.

    ``int8`` and ``int8-reduced`` scale activations at run time, the latter with weights of 7 bits;
    ``int8-static`` by what ``calibration`` shows, between the least and the greatest value.

    Raises:
        UsageError: ``int8-static`` without calibration batches.
    """
    path = source.with_name(_NAMES[precision])
    if path.exists():
        return path
    if precision == "int8-static":
        _static(source, path, calibration, "onnxruntime int8-static")
    else:
        _dynamic(source, path, reduced=precision == "int8-reduced")
    return path


def quantise_symmetric(source: Path, path: Path, calibration: Sequence[Arrays]) -> None:
    """Write to ``path`` a twin of ``source`` as TensorRT's parser asks for: signed, without zero points,
    each product with a pair of quantisation and its inverse of its own on both sides.

    Raises:
        UsageError: there are no calibration batches.
    """
    if not path.exists():
        _static(source, path, calibration, "TensorRT int8", symmetric=True)


@contextmanager
def _checked(path: Path) -> Iterator[Path]:
    """A temporary place for ``path``, which it takes when what was written there is sound."""
    silence_telemetry()
    with staged([path]) as (place,), silence():
        yield place
        # The quantiser can write nodes that no kernel takes; better here than on a device.
        onnx.checker.check_model(onnx.load(place))
        _check_loads(place)


def _dynamic(source: Path, path: Path, *, reduced: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _checked(path) as place:
        quantize_dynamic(
            source,
            place,
            per_channel=True,
            reduce_range=reduced,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"],
        )


def _static(
    source: Path,
    path: Path,
    calibration: Sequence[Arrays],
    what: str,
    *,
    symmetric: bool = False,
) -> None:
    from onnxruntime.quantization import QuantType, quantize_static

    if not calibration:
        raise UsageError(
            f"{what} needs calibration batches to find its scales; give some of the task's texts "
            "(--data), or take onnxruntime int8, which finds them at run time."
        )
    with _checked(path) as place:
        quantize_static(
            source,
            place,
            _Reader(calibration),
            nodes_to_quantize=_products_with_weights(source),
            per_channel=True,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options=_SYMMETRIC if symmetric else None,
        )


class _Reader:
    """The quantiser's view of batches: the next one, or None after the last."""

    def __init__(self, batches: Sequence[Arrays]) -> None:
        self._left: Iterator[Arrays] = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._left, None)
        return None if batch is None else dict(batch)


def _products_with_weights(source: Path) -> list[str]:
    graph = onnx.load(source).graph
    weights = {weight.name for weight in graph.initializer}
    return [
        node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights
    ]


def _check_loads(path: Path) -> None:
    from onnxruntime import InferenceSession

    InferenceSession(path, providers=["CPUExecutionProvider"])

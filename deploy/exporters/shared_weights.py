"""An ONNX graph whose weights lie in the encoder's own ``model.safetensors``: they are stored once.

ONNX's external data are bytes of any file below the graph's directory, and safetensors' tensors are just
that. A matrix that the tracer transposed is transposed back by a node of the graph, which runtimes fold
when they load it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.external_data_helper
import onnx.numpy_helper

LEAST_BYTES = 1024  # what is smaller stays in the graph


class Stored(NamedTuple):
    """Where the bytes of a tensor lie in a file."""

    offset: int
    length: int


def refer_to_weights(model: onnx.ModelProto, weights: Path) -> None:
    """Take from ``model`` what ``weights`` holds too; the graph is to lie beside that file."""
    stored = _stored(weights)
    transposed = []
    for weight in model.graph.initializer:
        value = onnx.numpy_helper.to_array(weight)
        if value.nbytes < LEAST_BYTES:
            continue
        if place := stored.get(_digest(value)):
            _refer(weight, weights.name, place)
        elif value.ndim == 2 and (place := stored.get(_digest(value.T))):
            name, weight.name = weight.name, f"{weight.name}_stored"
            weight.dims.reverse()
            _refer(weight, weights.name, place)
            transposed.append(
                onnx.helper.make_node("Transpose", [weight.name], [name], perm=[1, 0])
            )
    nodes = [*transposed, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _refer(weight: onnx.TensorProto, location: str, place: Stored) -> None:
    onnx.external_data_helper.set_external_data(weight, location, place.offset, place.length)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL


def _stored(weights: Path) -> dict[bytes, Stored]:
    """Where every tensor lies, by the digest of its type, shape and bytes.

    The format: eight bytes with the length of a header, which is JSON, then the tensors.
    """
    data = weights.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    found = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            first, last = (start + offset for offset in entry["data_offsets"])
            value = np.frombuffer(data, "<f4", (last - first) // 4, first)
            found[_digest(value.reshape(entry["shape"]))] = Stored(first, last - first)
    return found


def _digest(value: np.ndarray[Any, Any]) -> bytes:
    described = f"{value.dtype.str} {value.shape}".encode()
    return hashlib.sha256(described + value.tobytes()).digest()

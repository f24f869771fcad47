"""ONNX for onnxruntime, and the graph that OpenVINO and the fake device start from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx.numpy_helper
import torch
from torch import nn

from deploy.encoder import WEIGHTS, Encoder
from deploy.exporters import Exported
from deploy.exporters.onnx_int8 import quantise
from deploy.exporters.shared_weights import refer_to_weights
from deploy.exporters.staging import (
    OUTPUT,
    dynamic_shapes,
    example,
    plain_copy,
    silence,
    staged,
)
from devices.precision import PRECISIONS
from devices.runtimes import INPUTS, Arrays

# The newest opset that every consumer takes: 23 brings one Attention operator, which some cannot
# build and which dynamic quantisation turns into a node that does not load.
OPSET = 20


class OnnxExporter:
    """``onnx/model.onnx``, and its 8-bit twins."""

    calibrated = ("int8-static",)

    def export(
        self,
        encoder: Encoder,
        precision: str,
        directory: Path,
        calibration: Sequence[Arrays],
    ) -> Exported:
        if PRECISIONS[precision].quantised:
            path = quantise(export_graph(encoder, directory), precision, calibration)
            return Exported(path, (path,), directory)
        return self._in_fp32(encoder, directory)

    def _in_fp32(self, encoder: Encoder, directory: Path) -> Exported:
        path = export_graph(encoder, directory)
        return Exported(path, (path,), directory)


class SharingOnnxExporter(OnnxExporter):
    """``model.onnx`` whose weights are in ``model.safetensors`` beside it, the encoder's own; and the
    8-bit twins, which hold theirs."""

    def _in_fp32(self, encoder: Encoder, directory: Path) -> Exported:
        path, weights = directory / "model.onnx", directory / WEIGHTS
        if not path.exists():
            model = onnx.load(export_graph(encoder, directory))
            with staged([weights, path]) as (stored, place):
                plain_copy(encoder).save_weights(stored)
                refer_to_weights(model, stored)
                place.write_bytes(model.SerializeToString(deterministic=True))
        return Exported(path, (path, weights), directory)


def export_graph(encoder: Encoder, directory: Path) -> Path:
    """The fp32 graph at ``onnx/model.onnx``: inputs int64 [batch, sequence], output ``logits``."""
    path = directory / "onnx" / "model.onnx"
    if not path.exists():
        trace(plain_copy(encoder), encoder, path)
    return path


def trace(module: nn.Module, encoder: Encoder, path: Path) -> None:
    """Write the graph of ``module``, which takes what ``encoder`` does, to ``path``."""
    with silence():
        program = torch.onnx.export(
            module,
            example(encoder),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=dynamic_shapes(encoder),
            verbose=False,
        )
    model = program.model_proto
    _clean(model)
    with staged([path]) as (place,):
        onnx.save(model, place)


def _clean(model: onnx.ModelProto) -> None:
    """Drop what misleads later tools, and what tells of the machine that traced."""
    # The tracer leaves shapes of weights from before they were folded or transposed; the quantiser
    # believes them and stops with "Inferred shape and existing shape differ".
    graph = model.graph
    _merge_weights(graph)
    weights = {weight.name for weight in graph.initializer}
    kept = [value for value in graph.value_info if value.name not in weights]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    # Stack traces with source paths.
    for holder in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        del holder.metadata_props[:]
        holder.doc_string = ""


def _merge_weights(graph: onnx.GraphProto) -> None:
    """Keep a matrix that several layers share once; tracing and folding make copies of it."""
    first: dict[tuple[Any, ...], str] = {}
    known: dict[str, str] = {}
    for weight in graph.initializer:
        if len(weight.dims) > 1:
            value = onnx.numpy_helper.to_array(weight)
            digest = hashlib.sha256(value.tobytes()).digest()
            known[weight.name] = first.setdefault((value.dtype, value.shape, digest), weight.name)
    kept = [
        weight for weight in graph.initializer if known.get(weight.name, weight.name) == weight.name
    ]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = known.get(name, name)

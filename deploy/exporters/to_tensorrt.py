"""ONNX for TensorRT, whose networks are strongly typed since version 11: the precision is in the file.

fp16 and bf16 graphs compute in that throughout, but for the logits. int8 is fp32 with products quantised
on both sides by symmetric scales, signed, as TensorRT's parser asks for: another file than onnxruntime's.
The engine itself is built where it runs, since it is bound to the GPU and the release.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from deploy.encoder import Encoder
from deploy.exporters import Exported
from deploy.exporters.onnx_int8 import quantise_symmetric
from deploy.exporters.staging import NARROW, FloatLogits, plain_copy
from deploy.exporters.to_onnx import export_graph, trace
from devices.files import write_json, write_text
from devices.runtimes import INPUTS, Arrays

PROFILES, RECIPE = "profiles.json", "build.sh"
LARGEST_BATCH, MOST_TOKENS, USUAL_LENGTH = 64, 32768, 128


class TensorRtExporter:
    """``tensorrt/model_fp16.onnx``, ``model_bf16.onnx`` or ``model_int8.onnx``, with the shapes to build
    an engine for in ``profiles.json``, and ``build.sh`` that builds it with trtexec."""

    calibrated = ("int8",)

    def export(
        self, encoder: Encoder, precision: str, directory: Path, calibration: Sequence[Arrays]
    ) -> Exported:
        path = directory / "tensorrt" / f"model_{precision}.onnx"
        if precision in NARROW:
            if not path.exists():
                module: nn.Module = FloatLogits(plain_copy(encoder).to(NARROW[precision]))
                trace(module, encoder, path)
        else:
            quantise_symmetric(export_graph(encoder, directory), path, calibration)
        profiles, recipe = path.with_name(PROFILES), path.with_name(RECIPE)
        if not recipe.exists():
            shapes = _profiles(encoder.architecture.positions)
            write_json(profiles, shapes)
            write_text(recipe, _recipe(shapes))
        return Exported(path, (path, profiles, recipe), directory)


def _profiles(positions: int) -> dict[str, dict[str, list[int]]]:
    """Per input the least shape, the one to be fastest at, and the largest, for which an engine sets
    memory aside."""
    shapes = {
        "min": [1, 1],
        "opt": [1, min(USUAL_LENGTH, positions)],
        "max": [max(1, min(LARGEST_BATCH, MOST_TOKENS // positions)), positions],
    }
    return dict.fromkeys(INPUTS, shapes)


def _recipe(shapes: dict[str, dict[str, list[int]]]) -> str:
    def flag(kind: str) -> str:
        sizes = {name: "x".join(map(str, some[kind])) for name, some in shapes.items()}
        return f"--{kind}Shapes=" + ",".join(f"{name}:{size}" for name, size in sizes.items())

    return "\n".join(
        [
            "#!/bin/sh",
            "# Build an engine for this machine's GPU, with TensorRT 11's trtexec:",
            "#     sh build.sh model_fp16.onnx /tmp/model.plan",
            "# The precision is in the graph. The engine holds for this GPU and this TensorRT; it goes",
            "# elsewhere, since an artifact holds what its manifest names and nothing more.",
            "set -eu",
            "graph=${1:?the graph to build}; engine=${2:?where the engine goes}",
            'trtexec --onnx="$graph" --saveEngine="$engine" --timingCacheFile="$engine.cache" \\',
            *(f"    {flag(kind)} \\" for kind in ("min", "opt", "max")),
            "    --skipInference",
            "",
        ]
    )

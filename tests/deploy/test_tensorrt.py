"""Graphs for TensorRT: answered by onnxruntime, compiled by TensorRT-RTX, which needs no GPU for that."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from deploy.architecture import Architecture
from deploy.calibration import random_batches
from deploy.encoder import Encoder
from deploy.exporters import Exported, export_variant
from devices.device import open_device
from devices.errors import DeviceError, UsageError
from devices.precision import PRECISIONS
from devices.runtimes import RUNTIMES

TRIED = ("fp16", "bf16", "int8")
# In a process of its own: one that the compiler ends must not end the tests.
COMPILE = """
import json, sys
from pathlib import Path
import tensorrt_rtx_bindings as trt
from devices.runtimes.tensorrt_runtime import build_engine

def for_ampere(config):
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM80, 0)

path = Path(sys.argv[1])
shapes = json.loads(path.with_name("profiles.json").read_text())
plan, computes = build_engine(trt, path, shapes, for_ampere)
print(len(plan), computes)
"""


@pytest.fixture(scope="module")
def graphs(encoder: Encoder, root: Path) -> dict[str, Exported]:
    calibration = random_batches(24, 16)
    return {
        precision: export_variant(encoder, "tensorrt", precision, root, calibration)
        for precision in TRIED
    }


def compiled(path: Path) -> tuple[int, str]:
    """Bytes of the engine, and what it computes in."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    size, computes = done.stdout.split()
    return int(size), computes


def operators(exported: Exported) -> list[str]:
    return [node.op_type for node in onnx.load(exported.path).graph.node]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_answers_as_the_encoder(
    graphs: dict[str, Exported], encoder: Encoder, precision: str
) -> None:
    ids = torch.arange(24).reshape(2, 12)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    arrays = {name: part.numpy() for name, part in inputs.items()}
    session = RUNTIMES.get("onnxruntime")().load(graphs[precision].path, "fp32", 1)
    [answer] = session.run(arrays)
    with torch.inference_mode():
        wanted = encoder(**inputs).numpy()
    apart = np.abs(answer - wanted).max() / np.abs(wanted).max()
    assert apart < (0.02 if precision == "fp16" else 0.2)
    assert answer.dtype == np.float32


def test_the_precision_is_in_the_file(graphs: dict[str, Exported]) -> None:
    kinds = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}
    for precision, kind in kinds.items():
        weights = onnx.load(graphs[precision].path).graph.initializer
        assert {w.data_type for w in weights if len(w.dims) == 2} == {kind}
    model = onnx.load(graphs["int8"].path)
    products = sum(op == "MatMul" for op in operators(graphs["int8"]))
    assert operators(graphs["int8"]).count("QuantizeLinear") >= products
    zeros = [w for w in model.graph.initializer if w.name.endswith("zero_point")]
    assert {w.data_type for w in zeros} == {onnx.TensorProto.INT8}
    assert not any(onnx.numpy_helper.to_array(w).any() for w in zeros)


def test_what_belongs_to_it(graphs: dict[str, Exported], small: Architecture) -> None:
    path, profiles, recipe = graphs["fp16"].files
    assert path == graphs["fp16"].path
    shapes = json.loads(profiles.read_text())
    assert shapes["input_ids"] == {"min": [1, 1], "opt": [1, 32], "max": [64, small.positions]}
    assert set(shapes) == {"input_ids", "attention_mask", "token_type_ids"}
    text = recipe.read_text()
    assert "--optShapes=input_ids:1x32,attention_mask:1x32,token_type_ids:1x32" in text


def test_the_recipe_leaves_what_it_lies_in_as_it_was(
    graphs: dict[str, Exported], tmp_path: Path
) -> None:
    trtexec = tmp_path / "trtexec"
    trtexec.write_text(
        '#!/bin/sh\nfor word; do case $word in --saveEngine=*) : >"${word#*=}"; esac; done\n'
    )
    trtexec.chmod(0o755)
    path, _, recipe = graphs["fp16"].files
    before = sorted(path.parent.iterdir())
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["sh", str(recipe), str(path)]
    assert subprocess.run(command, env=environment, check=False, capture_output=True).returncode
    subprocess.run([*command, str(tmp_path / "model.plan")], env=environment, check=True)
    assert (tmp_path / "model.plan").exists()
    assert sorted(path.parent.iterdir()) == before


def test_int8_wants_calibration(encoder: Encoder, root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "onnx", tmp_path / "onnx")
    with pytest.raises(UsageError, match="TensorRT int8 needs calibration"):
        export_variant(encoder, "tensorrt", "int8", tmp_path)


@pytest.mark.skipif(open_device("local").fingerprint().gpu is not None, reason="there is a GPU")
def test_without_a_gpu_one_sentence_says_so(graphs: dict[str, Exported]) -> None:
    assert open_device("local").runtimes()["tensorrt"] is None
    with pytest.raises(DeviceError, match="sees no CUDA GPU; install"):
        RUNTIMES.get("tensorrt")().load(graphs["fp16"].path, "fp16", 1)


@pytest.mark.slow
@pytest.mark.parametrize("precision", TRIED)
def test_the_compiler_takes_every_graph(graphs: dict[str, Exported], precision: str) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", exc_type=ImportError)
    size, computes = compiled(graphs[precision].path)
    assert size > 10_000
    assert computes == PRECISIONS[precision].computes


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"head": "token-classification", "labels": 3, "rank": 8},
        {"head": "embedding", "labels": 0, "pooling": "mean", "norm": "pre"},
    ],
    ids=lambda changes: changes["head"],
)
def test_the_compiler_takes_every_shape_of_encoder(
    small: Architecture, tmp_path: Path, changes: dict[str, object]
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", exc_type=ImportError)
    encoder = Encoder(replace(small, **changes)).eval()
    size, _ = compiled(export_variant(encoder, "tensorrt", "fp16", tmp_path).path)
    assert size > 10_000


@pytest.mark.slow
def test_what_the_compiler_does_not_take_is_said(
    graphs: dict[str, Exported], tmp_path: Path
) -> None:
    trt = pytest.importorskip("tensorrt_rtx_bindings", exc_type=ImportError)
    from devices.runtimes.tensorrt_runtime import build_engine

    broken = tmp_path / "model.onnx"
    broken.write_bytes(graphs["fp16"].path.read_bytes()[:500])
    with pytest.raises(DeviceError, match=r"does not take .*model\.onnx"):
        build_engine(trt, broken, {})

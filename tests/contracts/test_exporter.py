"""What every exporter must hold, at each of its precisions.

The files are proven where they will run: loaded again in a fresh process. And every export that is made
here has to leave the encoder as it was.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deploy.architecture import (
    Architecture,
    Attention,
    FeedForward,
    Projection,
    SeparableConvolution,
)
from deploy.calibration import random_batches
from deploy.encoder import Encoder
from deploy.exporters import EXPORTERS, Exported, export_variant
from deploy.parity import check_parity
from devices.device import open_device
from devices.errors import UnknownName
from devices.runtimes import RUNTIMES, Arrays
from devices.target import Target

_UNEVEN = Architecture(
    vocabulary=60,
    hidden=32,
    # Heads and widths of every size, odd ones too; sub-layers were dropped where two are alike.
    operators=(
        Attention(3, 8),
        Attention(1, 8),
        FeedForward(48),
        FeedForward(7, "relu"),
        FeedForward(20, "gelu_new"),
    ),
    positions=24,
    labels=3,
)
ARCHITECTURES = {
    "uneven": _UNEVEN,
    "mixed": replace(
        _UNEVEN,
        operators=(
            SeparableConvolution(3),
            FeedForward(20, gated=True),
            Projection(24),
            SeparableConvolution(7, "gelu"),
            Attention(3, 8),
        ),
        rank=12,
    ),
    "small": replace(_UNEVEN, operators=(Attention(3, 8), FeedForward(7, "relu"))),
    "bare": replace(_UNEVEN, operators=(), labels=0, token_types=1),
}
VARIANTS = [
    (runtime, precision) for runtime in EXPORTERS for precision in RUNTIMES.get(runtime).precisions
]
# What is compiled, and has every kind of operator, does without the rest; and so does a second precision,
# whose program is traced as the first's.
CHOSEN = {
    ("executorch", "fp32"): ["mixed"],
    ("torch", "bf16"): ["mixed"],
    ("torch-compiled", "fp32"): ["uneven"],
    ("torch-compiled", "bf16"): ["small"],
    ("torch-aotinductor", "fp32"): ["uneven"],
    ("torch-aotinductor", "bf16"): ["small"],
}
EVERY = ["uneven", "mixed", "bare"]
COMPILED = ("torch-compiled", "torch-aotinductor")
# Some runtimes load what is written for another.
WRITTEN = [
    *{
        (EXPORTERS.get(name), precision): (name, precision)
        for name, precision in reversed(VARIANTS)
    }.values()
]
# Where no GPU runs them, nothing but what is asked of the files themselves has them written.
WRITTEN_FOR_GPUS = ("tensorrt", "torch-cuda")
# It takes half a minute to compile another, and its two precisions are compiled alike.
REPEATED = [pair for pair in WRITTEN if pair != ("torch-aotinductor", "fp32")]
NEEDS = {
    ("openvino", "int8"): "nncf",
    ("openvino", "int8-bf16"): "nncf",
    # It is written without TensorRT, which comes in where it is loaded.
    **{("tensorrt", p): "onnxruntime" for p in RUNTIMES.get("tensorrt").precisions},
}
FOLDERS = {
    ("onnxruntime", "fp32"): "",  # beside the weights
    "onnxruntime": "onnx",
    "onnxruntime-web": "onnx",
    "onnxruntime-mobile": "mobile",
    "torch-aotinductor": "aotinductor",
    "torch-compiled": "torch",
    "torch-cuda": "torch",
}

Export = Callable[[str, str, str], Exported]


def build(architecture: Architecture) -> Encoder:
    """Random weights three times the usual size, so that every part of the graph shows."""
    torch.manual_seed(0)
    encoder = Encoder(architecture)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.ndim == 2:
                parameter *= 3
    return encoder


@pytest.fixture(scope="module")
def encoders() -> dict[str, Encoder]:
    """In no mode that an export could take for its own, and be seen to leave so."""
    made = {name: build(architecture).train() for name, architecture in ARCHITECTURES.items()}
    for encoder in made.values():
        encoder.norm.eval()
    return made


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def export(root: Path, encoders: dict[str, Encoder]) -> Export:
    def export(name: str, runtime: str, precision: str) -> Exported:
        require(runtime, precision)
        encoder, batches = encoders[name], calibration(ARCHITECTURES[name])
        with left_as_it_was(encoder):
            return export_variant(encoder, runtime, precision, root / name, batches)

    return export


@contextmanager
def left_as_it_was(encoder: Encoder) -> Iterator[None]:
    modes = [module.training for module in encoder.modules()]
    weights = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    yield
    assert [module.training for module in encoder.modules()] == modes
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, weights[name])


def written(runtime: str, precision: str) -> str:
    """The architecture that is likely to be written for them already."""
    if runtime in WRITTEN_FOR_GPUS:
        return "bare"
    return CHOSEN.get((runtime, precision), EVERY)[0]


def calibration(a: Architecture) -> list[Arrays]:
    return random_batches(a.vocabulary, a.positions, 16, token_types=a.token_types)


def require(runtime: str, precision: str) -> None:
    package = NEEDS.get((runtime, precision), RUNTIMES.get(runtime).packages[0])
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    if runtime in COMPILED and shutil.which("g++") is None:
        pytest.skip("g++ is not installed")


@pytest.mark.parametrize(
    ("name", "runtime", "precision"),
    [
        (name, runtime, precision)
        for runtime, precision in VARIANTS
        for name in CHOSEN.get((runtime, precision), EVERY)
    ],
)
def test_parity_in_a_fresh_process(
    name: str, runtime: str, precision: str, export: Export, encoders: dict[str, Encoder]
) -> None:
    device = "fake" if runtime == "fake" else "local"
    if not open_device(device).runtimes()[runtime]:
        pytest.skip(f"{runtime} is not here: {RUNTIMES.get(runtime).install}")
    exported = export(name, runtime, precision)
    target = Target(device, runtime, precision, 1)
    report = check_parity(encoders[name], open_device(device), target, exported)
    report.require()
    assert {f"batch {b}, length {n}" for b in (1, 3) for n in (1, 7, 13, 24)} <= {
        case.name for case in report.cases
    }


@pytest.mark.parametrize(("runtime", "precision"), WRITTEN)
def test_layout_and_reuse(runtime: str, precision: str, export: Export, root: Path) -> None:
    name = written(runtime, precision)
    exported = export(name, runtime, precision)
    assert exported.path in exported.files
    folder = FOLDERS.get((runtime, precision), FOLDERS.get(runtime, runtime))
    assert {file.parent for file in exported.files} == {exported.root / folder}
    assert exported.root == root / name
    before = [file.stat() for file in exported.files]
    assert export(name, runtime, precision) == exported
    after = [file.stat() for file in exported.files]
    assert [(s.st_ino, s.st_mtime_ns) for s in after] == [(s.st_ino, s.st_mtime_ns) for s in before]


@pytest.mark.parametrize(("runtime", "precision"), WRITTEN)
def test_files_say_nothing_of_this_machine(runtime: str, precision: str, export: Export) -> None:
    source = str(Path(__file__).parents[2]).encode()
    for file in export(written(runtime, precision), runtime, precision).files:
        data = file.read_bytes()
        assert source not in data
        assert b"site-packages" not in data


@pytest.mark.parametrize(("runtime", "precision"), REPEATED)
def test_an_interrupted_export_leaves_nothing_and_another_gives_the_same_files(
    runtime: str,
    precision: str,
    export: Export,
    root: Path,
    encoders: dict[str, Encoder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "small" if runtime == "torch-aotinductor" else "bare"  # which is compiled already
    finished = export(name, runtime, precision)
    export(name, "onnxruntime", "fp32")
    shared = root / name / "onnx" / "model.onnx"
    if finished.path != shared:  # it may be there already
        (tmp_path / "onnx").mkdir()
        shutil.copy(shared, tmp_path / "onnx")
    batches = calibration(ARCHITECTURES[name])
    before = sorted(tmp_path.rglob("*.*"))

    def interrupt(*_: Any) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            export_variant(encoders[name], runtime, precision, tmp_path, batches)
    assert sorted(tmp_path.rglob("*.*")) == before
    again = export_variant(encoders[name], runtime, precision, tmp_path, batches)
    for first, second in zip(finished.files, again.files, strict=True):
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("runtime", list(EXPORTERS))
def test_unknown_precision(runtime: str, tmp_path: Path) -> None:
    encoder = build(ARCHITECTURES["bare"])
    with pytest.raises(UnknownName, match=r"precision of .*fp23.*Did you mean 'fp(32|16)'"):
        export_variant(encoder, runtime, "fp23", tmp_path)
    assert not any(tmp_path.iterdir())

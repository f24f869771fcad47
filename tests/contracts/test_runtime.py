"""What every runtime must hold, with the files that ship."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deploy.architecture import uniform
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from devices.device import open_device
from devices.errors import DeviceError
from devices.precision import PRECISIONS
from devices.runtimes import RUNTIMES, executorch_runtime
from profiler.archive import build_archive

HERE = {**open_device("local").runtimes(), **open_device("fake").runtimes()}
COMPILED = ("torch-compiled", "torch-aotinductor")
BARE = (*COMPILED, "executorch")
INSTALLED = [
    name for name in RUNTIMES if HERE.get(name) and (name not in COMPILED or shutil.which("g++"))
]
VARIANTS = [(name, precision) for name in INSTALLED for precision in RUNTIMES.get(name).precisions]
# A CPU without bf16 falls back to f32 in OpenVINO, and has to say so.
FALLBACK = {("openvino", "bf16"): "f32", ("openvino", "int8-bf16"): "int8"}
THREADS = {
    "torch": lambda _session: torch.get_num_threads(),
    "executorch": lambda _session: executorch_runtime.POOL.threads,
    "onnxruntime": lambda s: s._session.get_session_options().intra_op_num_threads,
    "openvino": lambda s: s._request.get_compiled_model().get_property("INFERENCE_NUM_THREADS"),
}


def batch(rows: int, length: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    ids = np.random.default_rng(seed).integers(0, 50, (rows, length), dtype=np.int64)
    mask = np.ones_like(ids)
    mask[-1, length // 2 + 1 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


@cache
def encoder(name: str) -> Encoder:
    """Has a layer, but where that takes long to compile, which test_exporter does for every operator."""
    torch.manual_seed(0)
    whole = uniform(1, 32, 4, 64, vocabulary=50, positions=32, labels=3)
    return Encoder(replace(whole, operators=()) if name in BARE else whole).eval()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


def exported(name: str, precision: str, root: Path) -> Path:
    batches = [batch(2, 8, seed) for seed in range(4)]
    place = root / ("bare" if name in BARE else "whole")
    return export_variant(encoder(name), name, precision, place, batches).path


def load(path: Path, name: str, precision: str = "fp32", threads: int = 1) -> Any:
    return RUNTIMES.get(name)().load(path, precision, threads)


@pytest.fixture(scope="module")
def session(root: Path) -> Callable[..., Any]:
    """What is loaded of an export, once: a compiler may take part."""

    @cache
    def session(name: str, precision: str = "fp32") -> Any:
        return load(exported(name, precision, root), name, precision)

    return session


@pytest.mark.parametrize("name", INSTALLED)
def test_answers_as_the_encoder_for_any_batch_and_length(
    session: Callable[..., Any], name: str
) -> None:
    for rows, length in ((1, 1), (1, 32), (3, 7), (5, 16)):
        inputs = batch(rows, length)
        with torch.inference_mode():
            expected = encoder(name)(*map(torch.from_numpy, inputs.values())).numpy()
        (answer,) = session(name).run({**inputs, "surplus": inputs["input_ids"]})
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, expected, atol=1e-5)


@pytest.mark.parametrize("name", INSTALLED)
def test_an_answer_outlives_the_next_run(session: Callable[..., Any], name: str) -> None:
    (first,) = session(name).run(batch(2, 8))
    kept = first.copy()
    session(name).run(batch(2, 8, seed=1))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(("name", "precision"), VARIANTS)
def test_reports_the_precision_that_it_computes_in(
    session: Callable[..., Any], name: str, precision: str
) -> None:
    granted = PRECISIONS[precision].computes
    assert session(name, precision).precision in (granted, FALLBACK.get((name, precision)))
    (answer,) = session(name, precision).run(batch(2, 8))
    assert answer.dtype == np.float32
    assert np.isfinite(answer).all()


def test_a_half_precision_file_is_called_what_it_is(root: Path) -> None:
    session = load(exported("torch-cuda", "fp16", root), "torch")
    assert session.precision == "f16"
    (answer,) = session.run(batch(2, 8))
    with torch.inference_mode():
        expected = encoder("torch-cuda")(*map(torch.from_numpy, batch(2, 8).values())).numpy()
    np.testing.assert_allclose(answer, expected, atol=0.01)


@pytest.mark.parametrize("name", [n for n in INSTALLED if "int8" in RUNTIMES.get(n).precisions])
def test_a_file_that_is_not_quantised_is_not_called_int8(root: Path, name: str) -> None:
    assert load(exported(name, "fp32", root), name, "int8").precision == "f32"


@pytest.mark.parametrize("name", INSTALLED)
def test_says_which_file_it_cannot_load(tmp_path: Path, name: str) -> None:
    missing, damaged = tmp_path / "missing.file", tmp_path / "damaged.file"
    damaged.write_bytes(b"no model")
    for path in (missing, damaged):
        with pytest.raises(DeviceError, match=path.stem):
            load(path, name)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", [name for name in INSTALLED if name in THREADS])
def test_uses_the_threads_it_is_given(root: Path, name: str, threads: int) -> None:
    path = exported(name, "fp32", root)
    session = load(path, name, threads=threads)
    load(path, name, threads=3 - threads)  # another session must not change the first one's
    session.run(batch(1, 8))
    assert THREADS[name](session) == threads


@pytest.mark.skipif("openvino" not in INSTALLED, reason="OpenVINO alone binds threads to cores")
def test_threads_of_copies_are_not_bound_to_cores(root: Path) -> None:
    path = exported("openvino", "fp32", root)
    session = RUNTIMES.get("openvino")().load(path, "fp32", 1, alone=False)
    assert session._request.get_compiled_model().get_property("ENABLE_CPU_PINNING") is False


@pytest.mark.parametrize("name", INSTALLED)
def test_only_the_fake_runtime_and_gpus_have_a_clock_of_their_own(
    session: Callable[..., Any], name: str
) -> None:
    loaded = session(name)
    if name != "fake" and not RUNTIMES.get(name).gpu:
        assert loaded.clock is None
        return
    loaded.run(batch(1, 8))
    before = loaded.clock()
    assert loaded.clock() == before
    loaded.run(batch(1, 8))
    assert loaded.clock() > before


_ALONE = """
import runpy, sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
runpy.run_path(sys.argv[2], run_name="__main__")
"""
# Of ``devices`` and ``profiler`` the archive holds a part, and hides what is installed.
_OTHERS = ["cutonce", "elastic", "predictors", "deploy", "transformers", "pandas", "sklearn"]


@pytest.mark.parametrize("name", INSTALLED)
def test_the_agent_needs_no_other_package(root: Path, name: str, tmp_path: Path) -> None:
    every = {package for other in RUNTIMES for package in RUNTIMES.get(other).packages}
    runtimes = every - {*RUNTIMES.get(name).packages}
    request = {
        "do": "load", "id": "a", "runtime": name, "path": str(exported(name, "fp32", root)),
        "precision": "fp32", "threads": 1, "streams": 2, "batch": 1, "length": 8, "vocabulary": 50,
        "seed": 0,
    }  # fmt: skip
    visit = {"do": "visit", "id": "a", "runs": 2, "minimum_ms": 0.0}
    lines = "".join(json.dumps(line) + "\n" for line in (request, visit, {"do": "watch"}))
    archive = str(build_archive(tmp_path / "agent.pyz"))
    done = subprocess.run(
        [sys.executable, "-I", "-c", _ALONE, ",".join([*_OTHERS, *sorted(runtimes)]), archive],
        input=lines, capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    loaded, visited, watched = map(json.loads, done.stdout.splitlines())
    assert loaded == {"precision": "f32"}
    assert len(visited["ns"]) >= 2
    assert watched["compute"] > 0

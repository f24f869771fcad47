"""Small exported encoders for the fake device, and an empty store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from deploy.architecture import Architecture, uniform
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.workload import Workload
from devices import interpreter
from devices.process import ChildProcess
from devices.runtimes.fake_runtime import Physics, fake_milliseconds
from devices.target import Target
from profiler.job import Job
from profiler.store import Store

WIDTHS = (16, 48)
WORKLOAD = Workload(1, 8)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[Architecture, Path]:
    """Exports for the fake and the onnxruntime runtime, below one root per architecture."""
    torch.manual_seed(0)
    roots = {}
    for width in WIDTHS:
        encoder = Encoder(uniform(1, 16, 2, width, vocabulary=20, positions=16, labels=2)).eval()
        roots[encoder.architecture] = tmp_path_factory.mktemp("export")
        for precision in ("fp32", "int8"):
            export_variant(encoder, "fake", precision, roots[encoder.architecture])
    return roots


@pytest.fixture
def jobs(exported: dict[Architecture, Path]) -> Callable[..., list[Job]]:
    """Jobs of both architectures on the named targets."""

    def make(*targets: str) -> list[Job]:
        places = {"fp32": "fake/model.onnx", "int8": "fake/model_int8.onnx"}
        return [
            Job(target, architecture, WORKLOAD, root / places[target.precision])
            for target in map(Target.parse, targets)
            for architecture, root in exported.items()
        ]

    return make


@pytest.fixture
def law() -> Callable[[Job], float]:
    """The exact milliseconds of a job on the fake device."""

    def exact(job: Job) -> float:
        costs = json.loads(job.path.with_suffix(".costs.json").read_text())
        physics = Physics.of(int(job.target.device.partition(":")[2] or 0))
        return fake_milliseconds(
            costs, physics, job.target.threads, job.workload.batch, job.workload.length
        )

    return exact


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> list[ChildProcess]:
    """The agents that this test has started so far, oldest first: other children of the process, as
    the resource tracker, are not to be killed with them."""
    started: list[ChildProcess] = []

    def start(*arguments: Any) -> ChildProcess:
        started.append(ChildProcess(*arguments))
        return started[-1]

    monkeypatch.setattr(interpreter, "ChildProcess", start)
    return started


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "measurements.sqlite") as opened:
        yield opened

"""What every device must hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.architecture import uniform
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from devices.device import open_device
from devices.errors import DeviceError, UnknownName, UsageError
from devices.fingerprint import Fingerprint
from profiler.archive import build_archive
from profiler.client import AgentClient

DEVICES = {
    "local": "onnxruntime", "ssh:board": "onnxruntime", "fleet:one": "fake", "fake": "fake",
    "fake:7": "fake",
}  # fmt: skip
each_device = pytest.mark.parametrize("name", DEVICES, indirect=True)
IDS = np.arange(12, dtype=np.int64).reshape(2, 6)
BATCH = {"input_ids": IDS, "attention_mask": np.ones_like(IDS), "token_type_ids": 0 * IDS}


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Of a device, whose way is there."""
    ways = {"ssh": "sshd", "fleet": "scheduler"}
    if way := ways.get(request.param.partition(":")[0]):
        request.getfixturevalue(way)
    return str(request.param)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(uniform(1, 16, 2, 32, vocabulary=20, positions=16, labels=2)).eval()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return build_archive(tmp_path / "agent.pyz")


@each_device
def test_is_the_same_machine_every_time_it_is_asked(name: str) -> None:
    found = open_device(name).fingerprint()
    assert found == open_device(name).fingerprint()
    again = Fingerprint.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found
    assert again.id == found.id
    assert len(found.id) == 12


def test_devices_are_told_apart() -> None:
    real, *fakes = "local", "fake", "fake:7"
    assert len({open_device(name).fingerprint().id for name in (real, *fakes)}) == 3


@each_device
def test_knows_its_cores_and_runtimes(name: str) -> None:
    device = open_device(name)
    assert 1 <= device.physical_cores() <= device.fingerprint().logical
    assert device.runtimes()[DEVICES[name]]
    assert device.name == name


@each_device
def test_an_agent_loads_visits_and_stops(
    name: str, encoder: Encoder, root: Path, archive: Path
) -> None:
    device, runtime = open_device(name), DEVICES[name]
    path = export_variant(encoder, runtime, "fp32", root).path
    with AgentClient(device, archive) as agent:
        loaded = agent.ask(
            "load", id="a", runtime=runtime, path=device.put(path), precision="fp32", threads=1,
            streams=1, batch=1, length=8, vocabulary=20, seed=0,
        )  # fmt: skip
        assert loaded == {"precision": "f32"}
        times = agent.ask("visit", id="a", runs=3, minimum_ms=0.0)["ns"]
        assert len(times) == 3
        assert all(isinstance(ns, int) and ns > 0 for ns in times)
        assert sum(agent.ask("visit", id="a", runs=1, minimum_ms=2.0)["ns"]) >= 2e6
        assert agent.ask("unload", id="a") == {}
        with pytest.raises(DeviceError):
            agent.ask("visit", id="a", runs=1, minimum_ms=0.0)
        process = agent._process
    assert process.poll() == 0


@each_device
def test_a_load_that_fails_leaves_the_agent_working(name: str, archive: Path) -> None:
    request = {
        "id": "a", "runtime": DEVICES[name], "path": "/nowhere/model.onnx", "precision": "fp32",
        "threads": 1, "streams": 1, "batch": 1, "length": 8, "vocabulary": 20, "seed": 0,
    }  # fmt: skip
    with AgentClient(open_device(name), archive) as agent:
        for _ in range(2):
            with pytest.raises(DeviceError, match=r"/nowhere/model"):
                agent.ask("load", **request)


@each_device
def test_the_death_of_an_agent_is_told(name: str, archive: Path) -> None:
    with AgentClient(open_device(name), archive) as agent:
        with pytest.raises(DeviceError):
            agent.ask("visit", id="none", runs=1, minimum_ms=0.0)  # it is up
        agent._process.kill()
        with pytest.raises(DeviceError, match=r"died during 'processor' \(exit code -9\)"):
            _ask_on(agent)


def _ask_on(agent: AgentClient) -> None:
    while True:  # a connection that others share takes a moment to notice
        agent.ask("processor")


@each_device
def test_the_last_words_of_an_agent_are_repeated(name: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("raise SystemExit('no numpy on this board')")
    agent = AgentClient(open_device(name), tmp_path / "bad.py")
    with agent, pytest.raises(DeviceError, match="no numpy on this board"):
        agent.ask("visit", id="a", runs=1, minimum_ms=0.0)


@each_device
def test_runs_a_file_in_a_fresh_process(
    name: str, encoder: Encoder, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = export_variant(encoder, DEVICES[name], "fp32", root).path
    (tmp_path / "numpy.py").write_text("raise SystemExit('a file of the user')")
    monkeypatch.chdir(tmp_path)
    shorter = {key: array[:1, :3] for key, array in BATCH.items()}
    answers = open_device(name).run(DEVICES[name], path, "fp32", 1, [BATCH, shorter] * 6)
    assert len(answers) == 12
    for batch, (answer,) in zip([BATCH, shorter] * 6, answers, strict=True):
        with torch.inference_mode():
            expected = encoder(*(torch.from_numpy(array.copy()) for array in batch.values()))
        np.testing.assert_allclose(answer, expected.numpy(), atol=1e-5)


@each_device
def test_a_run_that_fails_says_why_in_one_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"missing") as caught:
        open_device(name).run(DEVICES[name], tmp_path / "missing.onnx", "fp32", 1, [BATCH])
    assert "Traceback" not in str(caught.value)


def test_names_that_are_no_device() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'local'"):
        open_device("lokal")
    for name in ("local:1", "fake:x", "fake:-1"):
        with pytest.raises(UsageError, match=name.partition(":")[2]):
            open_device(name)

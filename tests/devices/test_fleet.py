"""Devices that the workers of a fleet offer, on a real cluster of fake devices."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import onnx
import onnx.parser
import pytest

from deploy.architecture import uniform
from deploy.exporters.to_fake import cost_list
from deploy.workload import Workload
from devices import cluster
from devices.device import open_device
from devices.errors import DeviceError, UnknownName, Unreachable
from devices.files import write_json
from devices.fleet import FleetDevice
from devices.target import Target
from profiler.campaign import run_campaign
from profiler.job import Job
from profiler.store import Store
from tests.cluster import SEEDS

VISITS = 5


SHAPE = uniform(1, 16, 2, 32, vocabulary=20, positions=16, labels=2)
GRAPH = """
    <ir_version: 8, opset_import: ["": 17]>
    graph (int64[batch, sequence] input_ids) => (float[batch, sequence] logits) {
        logits = Cast<to = 1>(input_ids)
    }
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fake device's clock goes by, with a graph that is quickly made."""
    path = tmp_path_factory.mktemp("x") / "model.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH), path)
    write_json(path.with_suffix(".costs.json"), cost_list(SHAPE, "fp32"))
    return path


def jobs(exported: Path, *devices: str) -> list[Job]:
    return [
        Job(Target.parse(f"{device}/fake/fp32@1"), SHAPE, Workload(1, 8), exported)
        for device in devices
    ]


def test_a_worker_offers_the_device_that_it_was_told_to(scheduler: str) -> None:  # noqa: ARG001
    for name, seed in SEEDS.items():
        device = open_device(f"fleet:{name}")
        assert device.fingerprint() == open_device(f"fake:{seed}").fingerprint()
        assert device.runtimes()["fake"]


def test_a_campaign_there_is_as_here(
    scheduler: str,  # noqa: ARG001
    exported: Path,
    tmp_path: Path,
) -> None:
    with Store(tmp_path / "store.sqlite") as store:
        there, here = (
            run_campaign(jobs(exported, *names), store=store, campaign="c", seed=0, visits=VISITS)
            for names in (("fleet:one", "fleet:two"), ("fake:7", "fake:8"))
        )
    assert [m.statistics.intrinsic for m in there] == [m.statistics.intrinsic for m in here]


def test_a_worker_that_dies_is_waited_for(
    scheduler: str,
    exported: Path,
    tmp_path: Path,
) -> None:
    deaths = [2]

    def die(done: int, _total: int) -> None:
        if done in deaths:
            deaths.remove(done)
            pids = cluster.connect(scheduler).run(os.getpid)
            for pid in pids.values():
                os.kill(pid, signal.SIGKILL)

    with Store(tmp_path / "store.sqlite") as store:
        [measured] = run_campaign(
            jobs(exported, "fleet:one"), store=store, campaign="c", seed=0, visits=VISITS,
            progress=die, pause=lambda _seconds: None,
        )  # fmt: skip
    assert len(measured.visits) == VISITS
    assert len({visit.started for visit in measured.visits}) == VISITS
    assert not deaths


def test_what_is_not_offered_is_told(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    device = FleetDevice("x", {"scheduler": scheduler, "resource": "three"})
    with pytest.raises(Unreachable, match=r'offered by no worker.*--resources "three=1"'):
        device.fingerprint()
    with pytest.raises(UnknownName, match="Did you mean 'one'"):
        open_device("fleet:ones")


def test_what_fails_there_is_no_lost_connection(scheduler: str) -> None:  # noqa: ARG001
    def fails(_device: object) -> None:
        raise KeyError("here")

    device = open_device("fleet:one")
    assert isinstance(device, FleetDevice)
    with pytest.raises(DeviceError, match=r"KeyError: 'here'\. It needs cutonce") as caught:
        device.do(fails)
    assert not isinstance(caught.value, Unreachable)


def test_a_scheduler_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 1.0)
    device = FleetDevice("x", {"scheduler": "tcp://127.0.0.1:9", "resource": "one"})
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        device.fingerprint()

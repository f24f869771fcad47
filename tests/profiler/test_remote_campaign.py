"""Campaigns on a device that others use, and whose way is cut."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deploy.architecture import uniform
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.workload import Workload
from devices.claim import claim
from devices.errors import DeviceError
from devices.target import Target
from profiler import crew
from profiler.campaign import run_campaign
from profiler.crew import Crew
from profiler.job import Job
from profiler.store import Store
from tests.sshd import Sshd

VISITS = 6


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Path]:
    torch.manual_seed(0)
    encoder = Encoder(uniform(1, 16, 2, 32, vocabulary=20, positions=16, labels=2)).eval()
    place = tmp_path_factory.mktemp("exports")
    return encoder, export_variant(encoder, "onnxruntime", "fp32", place).path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def job(target: str, exported: tuple[Encoder, Path]) -> Job:
    encoder, path = exported
    return Job(Target.parse(target), encoder.architecture, Workload(1, 8), path)


def test_a_way_that_is_cut_loses_and_doubles_no_visit(
    sshd: Sshd,
    store: Store,
    exported: tuple[Encoder, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(crew, "VISIT_PATIENCE", 20.0)

    # With the server stopped, the first try to connect again is in vain.
    disasters = {2: sshd.stop, 4: sshd.cut}

    def cut(done: int, _total: int) -> None:
        disasters.pop(done, lambda: None)()

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if sshd.stopped:
            sshd.start()

    [measured] = run_campaign(
        [job("ssh:board/onnxruntime/fp32@1", exported)], store=store, campaign="c", seed=0,
        visits=VISITS, least=VISITS, progress=cut, pause=pause,
    )  # fmt: skip
    assert VISITS <= len(measured.visits) <= 2 * VISITS
    started = [visit.started for visit in measured.visits]
    assert len(set(started)) == len(started)
    assert len({visit.process for visit in measured.visits}) >= 2
    assert crew._BETWEEN_TRIES in waits


def test_another_campaign_is_waited_for(
    store: Store,
    exported: tuple[Encoder, Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    held, _ = claim("process 1 of elsewhere")
    assert held is not None
    measured = run_campaign(
        [job("local/onnxruntime/fp32@1", exported)], store=store, campaign="c", seed=0, visits=1,
        pause=lambda _seconds: held.close(),
    )  # fmt: skip
    assert len(measured) == 1
    assert "local is being measured by process 1 of elsewhere" in caplog.text


def test_a_restart_begins_a_new_series(store: Store) -> None:
    with Crew([], store, "c", lambda _subject, _error: None) as started:
        started._watch("local")
        store.add_fingerprint(crew.open_device("local").fingerprint())
        started.read("local")
        started._walls["local"] += 1e6
        with pytest.raises(DeviceError, match="was restarted"):
            started.read("local")

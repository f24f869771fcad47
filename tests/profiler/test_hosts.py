"""Machines side by side."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.architecture import uniform
from deploy.workload import Workload
from devices.errors import DeviceError
from devices.target import Target
from profiler.hosts import Progress, Stop, host_of, on_each_host
from profiler.job import Job
from profiler.store import Store

SHAPE = uniform(1, 16, 2, 32, vocabulary=20, positions=16, labels=2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def jobs(*devices: str) -> list[Job]:
    targets = [Target(device, "onnxruntime", "fp32", 1) for device in devices]
    return [Job(target, SHAPE, Workload(1, 8), Path("model.onnx")) for target in targets]


def test_what_runs_on_this_machine_shares_it() -> None:
    hosts = [host_of(job.target) for job in jobs("local", "qemu:arm", "ssh:a", "ssh:b", "fleet:a")]
    assert hosts == ["", "", "ssh:a", "ssh:b", "fleet:a"]


def test_each_machine_has_a_campaign_at_the_same_time(store: Store) -> None:
    meeting, told = threading.Barrier(3, timeout=30), []

    def work(some: Sequence[Job], own: Store, progress: Progress, _stop: Stop) -> list[str]:
        meeting.wait()  # in vain, if one waited for another
        assert own is not store
        progress(1, 2)
        return [job.target.device for job in some]

    found = on_each_host(
        work, jobs("ssh:a", "local", "ssh:b", "local", "ssh:a"), store,
        lambda done, total: told.append((done, total)), lambda: False,
    )  # fmt: skip
    assert found == ["ssh:a", "ssh:a", "local", "local", "ssh:b"]
    assert told[-1] == (3, 6)


def test_one_machine_needs_no_thread(store: Store) -> None:
    def work(_some: Sequence[Job], own: Store, _progress: Progress, _stop: Stop) -> list[bool]:
        return [own is store, threading.current_thread() is threading.main_thread()]

    assert on_each_host(work, jobs("local"), store, lambda *_: None, lambda: False) == [True, True]


def test_where_one_fails_the_others_stop(store: Store) -> None:
    def work(some: Sequence[Job], _own: Store, _progress: Progress, stop: Stop) -> list[str]:
        if some[0].target.device == "ssh:a":
            raise DeviceError("ssh:a is gone")
        while not stop():
            pass
        return []

    with pytest.raises(DeviceError, match="ssh:a is gone"):
        on_each_host(work, jobs("ssh:a", "ssh:b"), store, lambda *_: None, lambda: False)

"""The store command, and what is said where a machine changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import cutonce
from cutonce.series import say_new_series
from deploy.architecture import uniform
from deploy.workload import Workload
from devices.device import open_device
from devices.errors import UsageError
from devices.target import Target
from profiler.store import Store
from profiler.visit import Visit

TARGET = Target("fake", "fake", "fp32", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store in which the target was measured on a machine with more cores."""
    machine = replace(open_device("fake").fingerprint(), cores=64)
    with Store(tmp_path / "s.sqlite") as store:
        store.add_fingerprint(machine)
        number = store.subject(
            "c", TARGET, machine.id, uniform(1, 16, 2, 32), Workload(1, 8), "f32"
        )
        store.add_visit(number, Visit(0.0, (1.0,)))
    return tmp_path / "s.sqlite"


def test_show_merge_and_parquet(path: Path, tmp_path: Path) -> None:
    [row] = cutonce.store(store=path)["targets"]
    assert (row["target"], row["configurations"], row["visits"]) == (str(TARGET), 1, 1)
    other = tmp_path / "other.sqlite"
    assert cutonce.store("merge", path, store=other)["visits"] == 1
    pytest.importorskip("pyarrow")
    assert cutonce.store("parquet", tmp_path / "v.parquet", store=other)["visits"] == 1
    with pytest.raises(UsageError, match="`merge` the other store"):
        cutonce.store("merge", store=path)


def test_a_changed_machine_begins_a_new_series(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(path) as store:
        say_new_series(store, [TARGET, Target("fake:9", "fake", "fp32", 1)])
        said = capsys.readouterr().err
        assert "cores: 2, not 64" in said
        assert "fake:9" not in said

"""Merging stores, and Parquet."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from deploy.architecture import uniform
from deploy.workload import Workload
from devices.device import open_device
from devices.errors import StoreError
from devices.target import Target
from profiler.exchange import merge, write_parquet
from profiler.schema import MIGRATIONS
from profiler.store import Store
from profiler.visit import Visit

ARCHITECTURE = uniform(1, 16, 2, 32, vocabulary=20)


def fill(store: Store, device: str, *visits: Visit, campaign: str = "c") -> None:
    machine = open_device(device).fingerprint()
    store.add_fingerprint(machine)
    target = Target(device, "fake", "fp32", 1)
    number = store.subject(campaign, target, machine.id, ARCHITECTURE, Workload(1, 8), "f32")
    for visit in visits:
        store.add_visit(number, visit)


ONE, TWO, THREE = (Visit(float(i), (1.0 + i, 2.0), "p", ("load",) * (i % 2)) for i in range(3))


def test_what_both_have_is_there_once(store: Store, tmp_path: Path) -> None:
    fill(store, "fake", ONE, TWO)
    with Store(tmp_path / "other.sqlite") as other:
        fill(other, "fake", TWO, THREE)
        fill(other, "fake:5", ONE)
        other.add_failure(1, 4.0, "It hung.")
    assert merge(store, tmp_path / "other.sqlite") == 2
    first, second = store.measurements(campaign="c")
    assert first.visits == (ONE, TWO, THREE)
    assert second.visits == (ONE,)
    assert second.target.device == "fake:5"
    assert [sentence for _, _, sentence in store.failures("c")] == ["It hung."]
    assert merge(store, tmp_path / "other.sqlite") == 0
    assert len(store.failures("c")) == 1
    assert merge(store, store.path) == 0


def test_another_store_is_only_read(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(MIGRATIONS[0])
        connection.execute("PRAGMA user_version=1")
    connection.close()
    before = path.read_bytes()
    assert merge(store, path) == 0
    assert path.read_bytes() == before


def test_what_is_no_store_is_said_and_changes_nothing(store: Store, tmp_path: Path) -> None:
    fill(store, "fake", ONE)
    (tmp_path / "text.sqlite").write_text("no database at all " * 50)
    for name in ("text.sqlite", "nowhere.sqlite"):
        with pytest.raises(StoreError, match=name):
            merge(store, tmp_path / name)
    assert store.measurements(campaign="c")[0].visits == (ONE,)


def test_every_visit_becomes_a_row(store: Store, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    fill(store, "fake", ONE, TWO)
    fill(store, "fake:5", THREE)
    path = tmp_path / "new" / "visits.parquet"
    assert write_parquet(store, path) == 3
    table = pd.read_parquet(path)
    assert [list(runs) for runs in table["milliseconds"]] == [[1.0, 2.0], [2.0, 2.0], [3.0, 2.0]]
    assert [list(causes) for causes in table["causes"]] == [[], ["load"], []]
    assert table["digest"].nunique() == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["visits.parquet"]


def test_the_last_machine_of_a_target(store: Store) -> None:
    target = Target("fake", "fake", "fp32", 1)
    assert store.last_fingerprint(target) is None
    fill(store, "fake", ONE)
    assert store.last_fingerprint(target) == open_device("fake").fingerprint()
    assert [row[2:] for row in store.counts()] == [(1, 1)]

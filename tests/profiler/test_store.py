from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

import pytest

from deploy.architecture import uniform
from deploy.workload import Workload
from devices.device import open_device
from devices.errors import StoreError
from devices.target import Target
from profiler.schema import MIGRATIONS, SCHEMA
from profiler.store import Store, default_path, open_store
from profiler.visit import Visit

TARGET = Target("fake:3", "fake", "fp32", 2)
OTHER = Target("fake:3", "fake", "int8", 1)
ARCHITECTURE = uniform(1, 16, 2, 32, vocabulary=20)
MACHINE = open_device("fake:3").fingerprint()


def begin(store: Store, target: Target = TARGET, campaign: str = "c") -> int:
    store.add_fingerprint(MACHINE)
    return store.subject(campaign, target, MACHINE.id, ARCHITECTURE, Workload(2, 8), "f32")


def test_gives_back_what_it_was_given(store: Store) -> None:
    taken = [Visit(1.5, (0.1, 0.2), "a", ("load", "steal")), Visit(2.5, (0.3,))]
    for visit in taken:
        store.add_visit(begin(store), visit)
    (found,) = store.measurements(campaign="c")
    assert (found.target, found.architecture, found.workload) == (
        TARGET, ARCHITECTURE, Workload(2, 8)
    )  # fmt: skip
    assert (found.precision, found.fingerprint) == ("f32", MACHINE.id)
    assert found.visits == tuple(taken)
    assert store.fingerprints() == {MACHINE.id: MACHINE}


def test_finds_by_campaign_target_and_fingerprint(store: Store) -> None:
    for target, campaign in ((TARGET, "c"), (OTHER, "c"), (TARGET, "d")):
        store.add_visit(begin(store, target, campaign), Visit(0.0, (1.0,)))
    begin(store, OTHER, "d")  # no visit yet: nothing that could be summarised
    assert [m.target for m in store.measurements(campaign="c")] == [TARGET, OTHER]
    assert [m.target for m in store.measurements(campaign="c", target=OTHER)] == [OTHER]
    assert len(store.measurements(campaign="d")) == 1
    assert store.measurements(campaign="c", fingerprint="another") == []


def test_a_subject_is_made_once(store: Store) -> None:
    assert begin(store) == begin(store)
    assert begin(store) != begin(store, OTHER)


def test_what_is_kept_outlives_the_process_at_once(store: Store) -> None:
    number = begin(store)
    store.add_visit(number, Visit(0.0, (1.0,)))
    with Store(store.path) as reader:  # the writer is still open and never said goodbye
        assert len(reader.measurements(campaign="c")) == 1


def test_many_may_make_the_same_store_at_once(tmp_path: Path) -> None:
    path, failed = tmp_path / "new.sqlite", []

    def make() -> None:
        try:
            with Store(path) as store:
                begin(store)
        except StoreError as error:
            failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_full_disk(store: Store) -> None:
    number = begin(store)
    store.add_visit(number, Visit(0.0, (1.0,)))
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreError, match=r"full.*Free some disk space"):
        store.add_visit(number, Visit(0.0, (1.0,) * 50_000))
    assert store.measurements(campaign="c")[0].visits[0] == Visit(0.0, (1.0,))


def test_a_store_of_a_newer_version(store: Store) -> None:
    store._connection.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match=r"newer cutonce \(schema 99"):
        Store(store.path)


def test_a_visit_is_kept_first_and_judged_later(store: Store) -> None:
    number = store.add_visit(begin(store), Visit(0.0, (1.0,), causes=("unwatched",)))
    store.judge_visit(number, ())
    [measured] = store.measurements(campaign="c")
    assert measured.visits[0].quiet


def test_failures_are_kept_and_the_precision_comes_later(store: Store) -> None:
    store.add_fingerprint(MACHINE)
    asked = ("c", TARGET, MACHINE.id, ARCHITECTURE, Workload(2, 8))
    number = store.subject(*asked, "")
    store.add_failure(number, 3.0, "It hung.")
    assert store.failures("c") == [(TARGET, ARCHITECTURE, "It hung.")]
    assert store.failures("d") == []
    assert store.subject(*asked, "f32") == number
    store.add_visit(number, Visit(0.0, (1.0,)))
    assert store.measurements(campaign="c")[0].precision == "f32"
    assert store.subject(*asked, "") == number
    assert store.measurements(campaign="c")[0].precision == "f32"


def test_a_store_of_the_first_schema_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(MIGRATIONS[0])
        connection.execute("PRAGMA user_version=1")
        facts = json.dumps(MACHINE.to_json())
        connection.execute("INSERT INTO fingerprint VALUES (?, ?)", (MACHINE.id, facts))
        connection.execute(
            "INSERT INTO subject VALUES (1, 'c', ?, ?, ?, ?, 2, 8, 'f32')",
            (str(TARGET), MACHINE.id, ARCHITECTURE.digest, json.dumps(ARCHITECTURE.to_json())),
        )
        connection.execute("INSERT INTO visit VALUES (1, 1, 7.0, '[0.5, 0.6]')")
        connection.execute(
            "INSERT INTO canary VALUES ('c', ?, ?, 'memory', 7.0, 21.0)", (str(TARGET), MACHINE.id)
        )
    connection.close()
    with Store(path) as store:
        [measured] = store.measurements(campaign="c")
        assert measured.visits == (Visit(7.0, (0.5, 0.6)),)
        assert store._version() == SCHEMA
        rows = store._connection.execute("SELECT facts FROM reading").fetchall()
    assert [json.loads(facts) for (facts,) in rows] == [{"memory": 21.0}]
    Store(path).__exit__(None, None, None)  # and once more, as a store of today


def test_files_that_are_no_store(tmp_path: Path) -> None:
    text, other = tmp_path / "text", tmp_path / "other.sqlite"
    text.write_text("not a database at all, just some text" * 50)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE somebody (elses INTEGER)")
    connection.close()
    with pytest.raises(StoreError, match="no SQLite file"):
        Store(text)
    with pytest.raises(StoreError, match="something else"):
        Store(other)
    with pytest.raises(StoreError, match="--store"):
        Store(tmp_path)
    with pytest.raises(StoreError, match="--store"):
        Store(text / "below" / "a.sqlite")
    with sqlite3.connect(other) as connection:  # left as it was
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("somebody",)]
    connection.close()


def test_a_store_that_another_process_holds(store: Store) -> None:
    number = begin(store)
    store._connection.execute("PRAGMA busy_timeout=1")
    holder = sqlite3.connect(store.path)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="Another process holds it"):
        store.add_visit(number, Visit(0.0, (1.0,)))
    holder.rollback()
    holder.close()
    store.add_visit(number, Visit(0.0, (1.0,)))


def test_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_path().name == "measurements.sqlite"
    with open_store() as opened:
        assert opened.path == default_path()
    for own in (tmp_path / "own.sqlite", str(tmp_path / "own.sqlite")):
        with open_store(own) as opened:
            assert opened.path == tmp_path / "own.sqlite"

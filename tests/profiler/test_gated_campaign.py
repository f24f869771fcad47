"""Campaigns on a real target: watched by the gate, settled across moments, with agents that die."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from devices.process import ChildProcess
from devices.target import Target
from profiler import campaign, crew, gate, stretch
from profiler.campaign import run_campaign
from profiler.job import PATIENCE, SETTLING, Job, Subject
from profiler.store import Store
from profiler.visit import Visit
from profiler.warnings import Doubt

Jobs = Callable[..., list[Job]]


def real(job: Job) -> Job:
    """The same file, on this machine's own onnxruntime."""
    return replace(job, target=Target("local", "onnxruntime", "fp32", 1))


class Scripted:
    """A gate that answers as it is told, and calm when it has nothing more to say."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)

    def __call__(self, _known: object) -> Scripted:
        return self

    def add(self, _reading: object) -> tuple[str, ...]:
        return self.answers.pop(0) if self.answers else ()


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Judge every visit by itself, as the script says."""

    def script(*answers: tuple[str, ...]) -> None:
        monkeypatch.setattr(campaign, "Gate", Scripted(*answers))
        monkeypatch.setattr(stretch, "SECONDS", -1.0)
        monkeypatch.setattr(stretch, "LONGEST_WAIT", 0.0)
        monkeypatch.setattr(stretch, "FIRST_READINGS", 1)

    return script


def test_real_targets_are_spread_and_watched(
    jobs: Jobs, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretch, "LONGEST_WAIT", 0.0)
    (job, _) = jobs("fake/fake/fp32@1")
    waited: list[float] = []
    measured = run_campaign(
        [real(job), job], store=store, campaign="c", seed=0, visits=3, spread_seconds=1000.0,
        pause=waited.append,
    )  # fmt: skip
    assert len([seconds for seconds in waited if seconds > stretch.BETWEEN_LOOKS]) >= 2
    assert all(0 < seconds <= 500 for seconds in waited)
    assert all(len(m.visits) >= 3 for m in measured)
    with sqlite3.connect(store.path) as connection:
        rows = connection.execute("SELECT facts FROM reading").fetchall()
    connection.close()
    readings = [json.loads(facts) for (facts,) in rows]
    assert len(readings) > stretch.FIRST_READINGS
    assert all(reading["compute"] > 0 < reading["memory"] for reading in readings)
    walls = [reading["wall"] for reading in readings]
    assert walls == sorted(walls)


def test_disturbed_visits_are_taken_again_and_kept(
    jobs: Jobs, store: Store, gated: Callable[..., None]
) -> None:
    (job, _) = jobs("fake/fake/fp32@1")
    gated((), (gate.LOADED,), (), (gate.LOADED, gate.STOLEN))
    [measured] = run_campaign([real(job)], store=store, campaign="c", seed=0, visits=3)
    causes = [visit.causes for visit in measured.visits]
    assert causes == [(gate.LOADED,), (), (gate.LOADED, gate.STOLEN), (), ()]
    assert (measured.statistics.visits, measured.statistics.quiet) == (5, 3)
    assert Doubt.LOADED.value in measured.warnings


def test_a_slow_memory_disturbs_only_what_the_cache_does_not_hold(
    jobs: Jobs, store: Store, gated: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = jobs("fake/fake/fp32@1")
    sizes = {small.path: 1, large.path: 2**40}
    monkeypatch.setattr(Job, "size_bytes", property(lambda self: sizes[self.path]))
    gated((), (gate.SLOW_MEMORY,), (gate.SLOW_MEMORY,))
    one, other = run_campaign(
        [real(small), real(large)], store=store, campaign="c", seed=0, visits=2, loaded_bytes=2**60
    )
    assert all(visit.quiet for visit in one.visits)
    assert sum(not visit.quiet for visit in other.visits) == 1


def test_under_a_load_that_never_ends_it_gives_up_flagged(
    jobs: Jobs, store: Store, gated: Callable[..., None]
) -> None:
    (job, _) = jobs("fake/fake/fp32@1")
    gated((), *[(gate.LOADED,)] * 100)
    [measured] = run_campaign([real(job)], store=store, campaign="c", seed=0, visits=9)
    assert (measured.statistics.visits, measured.statistics.quiet) == (9 * PATIENCE, 0)
    assert Doubt.NEVER_QUIET.value in measured.warnings


def test_it_goes_on_until_visits_of_different_moments_agree(
    jobs: Jobs, store: Store, gated: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = real(jobs("fake/fake/fp32@1")[0])
    gated()
    least = itertools.chain([3.0] * 8, [1.0] * 8, [2.0] * 8, itertools.repeat(1.005))
    moments = itertools.count(0.0, 2.0)

    def visit(self: crew.Crew, subject: Subject) -> tuple[int, Visit]:
        taken = Visit(next(moments), (next(least),), "p", (gate.UNWATCHED,))
        return self._store.add_visit(subject.number, taken), taken

    monkeypatch.setattr(crew.Crew, "visit", visit)
    [measured] = run_campaign([job], store=store, campaign="c", seed=0, visits=9, apart=15.0)
    assert len(measured.visits) == 33  # those at 16, 48 and 64 seconds agree
    least = itertools.count(2.0, 0.1)
    [measured] = run_campaign([job], store=store, campaign="d", seed=0, visits=9, apart=15.0)
    assert len(measured.visits) == SETTLING * 9


def test_an_agent_that_dies_once_costs_no_job(
    jobs: Jobs, store: Store, gated: Callable[..., None], agents: list[ChildProcess]
) -> None:
    asked = [real(job) for job in jobs("fake/fake/fp32@1")]
    gated()
    called = itertools.count()

    def kill_once(_done: int, _total: int) -> None:
        if next(called) == 1:  # the watcher was started first
            agents[-1].kill()

    measured = run_campaign(asked, store=store, campaign="c", seed=0, visits=3, progress=kill_once)
    assert [len(m.visits) for m in measured] == [3, 3]
    assert any(len({visit.process for visit in m.visits}) == 2 for m in measured)
    assert store.failures("c") == []


def test_a_target_whose_every_job_crashes_does_not_stop_the_others(
    jobs: Jobs, store: Store, gated: Callable[..., None]
) -> None:
    broken = replace(real(jobs("fake/fake/fp32@1")[0]), path=Path("/gone.onnx"))
    whole = jobs("fake/fake/fp32@2")[0]
    gated()
    failed: list[Job] = []
    measured = run_campaign(
        [broken, whole], store=store, campaign="c", seed=0, visits=2,
        failed=lambda job, _error: failed.append(job),
    )  # fmt: skip
    assert failed == [broken]
    assert [m.target for m in measured] == [whole.target]

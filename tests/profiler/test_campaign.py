from __future__ import annotations

import itertools
import json
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest

from deploy.workload import Workload
from devices.errors import DeviceError, UsageError
from devices.fake import FakeDevice
from devices.process import ChildProcess
from profiler import campaign, crew
from profiler.campaign import run_campaign
from profiler.client import AgentClient
from profiler.job import Job
from profiler.store import Store
from profiler.warnings import Doubt

Jobs = Callable[..., list[Job]]


class Interrupted(Exception):
    """Stands for whatever ends a campaign in the middle."""


def stop_after(visits: int) -> Callable[[int, int], None]:
    def progress(done: int, _total: int) -> None:
        if done == visits:
            raise Interrupted

    return progress


def counts(store: Store, name: str = "c") -> list[int]:
    return [len(m.visits) for m in store.measurements(campaign=name)]


def test_a_virtual_device_is_not_given_the_energy_of_its_host(
    jobs: Callable[..., list[Job]], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = AgentClient.ask

    def metered(self: AgentClient, do: str, **request: Any) -> dict[str, Any]:
        return ask(self, do, **request) | ({"uj": 5.0} if do == "visit" else {})

    monkeypatch.setattr(AgentClient, "ask", metered)
    for found in run_campaign(
        jobs("fake/fake/fp32@1"), store=store, campaign="c", seed=0, visits=2
    ):
        assert found.millijoules is None


@pytest.mark.parametrize("device", ["fake", "fake:11"])
def test_intrinsic_latency_finds_the_law_despite_noise_and_episodes(
    jobs: Jobs, store: Store, law: Callable[[Job], float], device: str
) -> None:
    asked = jobs(f"{device}/fake/fp32@1", f"{device}/fake/int8@2")
    measured = run_campaign(asked, store=store, campaign="c", seed=0, visits=15, least=15)
    slowest = []
    for job, measurement in zip(asked, measured, strict=True):
        assert (measurement.target, measurement.architecture) == (job.target, job.architecture)
        assert measurement.statistics.intrinsic == pytest.approx(law(job), rel=0.02)
        assert measurement.statistics.visits == 15
        assert measurement.precision == {"fp32": "f32", "int8": "int8"}[job.target.precision]
        assert Doubt.VIRTUAL_CLOCK.value in measurement.warnings
        slowest.append(max(min(v.milliseconds) for v in measurement.visits) / law(job))
    assert sum(ratio > 1.4 for ratio in slowest) >= 2  # whole visits were slow


def test_the_same_seed_gives_the_same_measurement(jobs: Jobs, store: Store) -> None:
    asked = jobs("fake/fake/fp32@1")
    one, two = (run_campaign(asked, store=store, campaign=name, seed=1, visits=2) for name in "ab")
    for first, second in zip(one, two, strict=True):
        assert [v.milliseconds for v in first.visits] == [v.milliseconds for v in second.visits]


def test_every_visit_has_enough_runs(jobs: Jobs, store: Store) -> None:
    for m in run_campaign(jobs("fake/fake/fp32@1"), store=store, campaign="c", seed=0, visits=2):
        for visit in m.visits:
            assert len(visit.milliseconds) >= crew.RUNS
            assert sum(visit.milliseconds) >= crew.VISIT_MS


def test_interrupted_it_keeps_every_visit_and_takes_none_twice(jobs: Jobs, store: Store) -> None:
    asked = jobs("fake/fake/fp32@1", "fake/fake/int8@1")
    with pytest.raises(Interrupted):
        run_campaign(asked, store=store, campaign="c", seed=0, visits=3, progress=stop_after(7))
    assert sum(counts(store)) == 7
    kept = [m.visits for m in store.measurements(campaign="c")]
    heard: list[tuple[int, int]] = []
    measured = run_campaign(
        asked, store=store, campaign="c", seed=0, visits=3,
        progress=lambda done, total: heard.append((done, total)),
    )  # fmt: skip
    assert counts(store) == [3, 3, 3, 3]
    assert all(len(m.visits) == 3 for m in measured)
    assert (heard[0], heard[-1]) == ((8, 12), (12, 12))
    for before, after in zip(kept, store.measurements(campaign="c"), strict=True):
        assert after.visits[: len(before)] == before


def test_a_device_that_was_restarted_begins_a_new_series(
    jobs: Jobs, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = jobs("fake/fake/fp32@1")
    for start, visits in (("one", 2), ("another", 2), ("one", 3)):
        monkeypatch.setattr(FakeDevice, "boot", lambda _self, start=start: start)
        measured = run_campaign(asked, store=store, campaign="c", seed=0, visits=visits)
        assert [len(m.visits) for m in measured] == [visits, visits]
    assert sum(visits for *_, visits in store.counts()) == 2 * (2 + 3)


def test_a_finished_campaign_starts_nothing(
    jobs: Jobs, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = jobs("fake/fake/fp32@1")
    first = run_campaign(asked, store=store, campaign="c", seed=0, visits=2)
    monkeypatch.setattr(campaign, "Crew", None)
    assert run_campaign(asked, store=store, campaign="c", seed=0, visits=2) == first


# Its standard input stays open, so that it waits where the test wants it.
_CHILD = """
import json, signal, sys
from pathlib import Path
from deploy.architecture import Architecture
from deploy.workload import Workload
from devices.target import Target
from profiler.campaign import run_campaign
from profiler.job import Job
from profiler.store import open_store

# A shell that starts the tests in the background has interrupts ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

request = json.loads(sys.stdin.readline())
job = Job(Target.parse(request["target"]), Architecture.from_json(request["architecture"]),
          Workload(1, 8), Path(request["path"]))

def progress(done, total):
    if done == 2:
        print("ready", flush=True)
        sys.stdin.read()  # until the test ends this process

with open_store(Path(request["store"])) as store:
    run_campaign([job], store=store, campaign="c", seed=0, visits=4, progress=progress)
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_costs_no_visit(jobs: Jobs, tmp_path: Path, ending: signal.Signals) -> None:
    (job, _) = jobs("fake/fake/fp32@1")
    path = tmp_path / "s.sqlite"
    request = {
        "target": str(job.target), "architecture": job.architecture.to_json(),
        "path": str(job.path), "store": str(path),
    }  # fmt: skip
    root = Path(campaign.__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD], cwd=root, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(request) + "\n")
        child.stdin.flush()
        assert child.stdout.readline() == "ready\n"
        child.send_signal(ending)
        child.wait(30)
    with Store(path) as store:
        assert counts(store) == [2]
        run_campaign([job], store=store, campaign="c", seed=0, visits=4)
        assert counts(store) == [4]


def test_jobs_that_are_alike_are_measured_once(jobs: Jobs, store: Store, tmp_path: Path) -> None:
    first, other = jobs("fake/fake/fp32@1")
    twin = replace(first, path=tmp_path / "the-same-encoder-elsewhere.onnx")
    measured = run_campaign([first, other, twin], store=store, campaign="c", seed=0, visits=2)
    assert counts(store) == [2, 2]
    assert measured[0] == measured[2] != measured[1]


def test_blocks_bound_what_is_loaded_at_once(jobs: Jobs, store: Store) -> None:
    asked = jobs("fake/fake/fp32@1", "fake/fake/int8@1")
    measured = run_campaign(
        asked, store=store, campaign="c", seed=0, visits=2, least=2, loaded_bytes=1
    )
    spans = sorted((m.visits[0].started, m.visits[-1].started) for m in measured)
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))
    assert counts(store) == [2, 2, 2, 2]


def test_a_reference_is_visited_beside_every_block(jobs: Jobs, store: Store) -> None:
    first, *others = jobs("fake/fake/fp32@1", "fake/fake/int8@1")
    reference, *rest = run_campaign(
        [replace(first, reference=True), *others],
        store=store, campaign="c", seed=0, visits=2, least=2, loaded_bytes=1,
    )  # fmt: skip
    beside = Counter(visit.process for visit in reference.visits)
    assert list(beside.values()) == [2, 2, 2]
    assert [len(measured.visits) for measured in rest] == [2, 2, 2]
    [same_agent] = {visit.process for visit in rest[0].visits}
    assert same_agent in beside


def test_a_reference_is_visited_as_long_as_others_are(jobs: Jobs, store: Store) -> None:
    first, other = jobs("fake/fake/fp32@1")
    asked = [replace(first, reference=True), other]
    run_campaign(asked[:1], store=store, campaign="c", seed=0, visits=2)
    reference, judged = run_campaign(asked, store=store, campaign="c", seed=0, visits=2)
    assert [len(reference.visits), len(judged.visits)] == [4, 2]


def test_it_stops_early_where_the_lowest_visits_agree(jobs: Jobs, store: Store) -> None:
    asked = jobs("fake:4/fake/fp32@1")
    for measured in run_campaign(asked, store=store, campaign="c", seed=0, visits=40):
        lowest = sorted(min(visit.milliseconds) for visit in measured.visits)[:3]
        assert 9 <= len(measured.visits) < 40
        assert lowest[2] <= 1.01 * lowest[0]


def test_it_stops_when_its_caller_says_so(jobs: Jobs, store: Store) -> None:
    asked = jobs("fake/fake/fp32@1", "fake/fake/int8@1")
    answers = iter([False] * 5 + [True])
    measured = run_campaign(
        asked, store=store, campaign="c", seed=0, visits=9, stop=lambda: next(answers)
    )
    assert sum(len(m.visits) for m in measured) == 6


def test_visits_are_split_over_starts_of_the_process(jobs: Jobs, store: Store) -> None:
    asked = jobs("fake/fake/fp32@1")
    measured = run_campaign(
        asked, store=store, campaign="c", seed=0, visits=7, starts=3, loaded_bytes=1
    )
    order = sorted(
        (visit.started, visit.process, i) for i, m in enumerate(measured) for visit in m.visits
    )
    turns = [
        (process, i, len([*group])) for (process, i), group in groupby(order, key=lambda v: v[1:])
    ]
    assert [(i, count) for _, i, count in turns] == [(0, 3), (1, 3), (0, 2), (1, 2), (0, 2), (1, 2)]
    assert len({process for process, _, _ in turns}) == 6


def test_what_crashes_again_is_given_up_and_recorded(
    jobs: Jobs, store: Store, agents: list[ChildProcess]
) -> None:
    asked = jobs("fake/fake/fp32@1", "fake/fake/int8@1")
    failed: list[Job] = []

    def crash(done: int, _total: int) -> None:
        if done >= 4:
            for agent in agents:
                agent.kill()

    measured = run_campaign(
        asked, store=store, campaign="c", seed=0, visits=3, progress=crash,
        failed=lambda job, _error: failed.append(job),
    )  # fmt: skip
    assert sorted(map(str, failed)) == sorted(map(str, asked))
    assert all(measurement.visits for measurement in measured)  # what was taken is kept
    assert [target for target, _, _ in store.failures("c")] == [job.target for job in failed]
    with pytest.raises(DeviceError, match="died"):
        run_campaign(asked, store=store, campaign="d", seed=0, visits=3, progress=crash)


def test_a_date_that_jumps_is_said_and_changes_no_time(
    jobs: Jobs, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job, _) = jobs("fake/fake/fp32@1")
    dates = itertools.chain([5e9] * 2, itertools.count(1e9))
    monkeypatch.setattr(crew.time, "time", lambda: next(dates))
    [measured] = run_campaign([job], store=store, campaign="c", seed=0, visits=9)
    assert Doubt.CLOCK_JUMPED.value in measured.warnings


def test_a_virtual_clock_waits_for_nobody(jobs: Jobs, store: Store) -> None:
    def pause(_seconds: float) -> None:
        raise AssertionError("it waited")

    run_campaign(
        jobs("fake/fake/fp32@1"), store=store, campaign="c", seed=0, visits=2,
        spread_seconds=1000.0, pause=pause,
    )  # fmt: skip


def test_what_cannot_be_measured_is_said_before_anything_starts(jobs: Jobs, store: Store) -> None:
    (job, _) = jobs("fake/fake/fp32@1")
    long = replace(job, workload=Workload(1, 99))
    with pytest.raises(UsageError, match="Length 99 is more than the 16 positions"):
        run_campaign([long], store=store, campaign="c", seed=0)
    with pytest.raises(UsageError, match="not 0"):
        run_campaign([job], store=store, campaign="c", seed=0, visits=0)
    with pytest.raises(DeviceError, match="gone"):
        run_campaign([replace(job, path=Path("/gone.onnx"))], store=store, campaign="c", seed=0)
    assert run_campaign([], store=store, campaign="c", seed=0) == []


def test_rounds_are_shuffled_by_the_seed_and_hold_everything_once(jobs: Jobs, store: Store) -> None:
    asked = jobs("fake/fake/fp32@1", "fake/fake/int8@1")

    def order(name: str, seed: int) -> list[int]:
        run_campaign(asked, store=store, campaign=name, seed=seed, visits=4)
        with sqlite3.connect(store.path) as connection:
            rows = connection.execute(
                "SELECT subject.target, digest FROM visit JOIN subject ON subject.id = subject "
                "WHERE campaign = ? ORDER BY visit.id", (name,)
            ).fetchall()  # fmt: skip
        connection.close()
        names = [(str(job.target), job.architecture.digest) for job in asked]
        return [names.index(row) for row in rows]

    first = order("a", 0)
    rounds = [first[start : start + 4] for start in range(0, 16, 4)]
    assert all(sorted(taken) == [0, 1, 2, 3] for taken in rounds)
    assert len(set(map(tuple, rounds))) > 1
    assert order("b", 0) == first
    assert order("c", 1) != first

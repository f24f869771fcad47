from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.errors import DeviceError
from profiler import agent
from profiler.archive import build_archive


class Session:
    """Takes the given nanoseconds, one after another, on a clock of its own."""

    precision = "f32"
    settle_ms = 0.0

    def __init__(self, *taken: int) -> None:
        self.taken, self.now = list(taken), 0
        self.seen: list[tuple[dict[str, np.ndarray[Any, Any]], bool]] = []

    def clock(self) -> int:
        return self.now

    def run(self, inputs: dict[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        self.seen.append((inputs, gc.isenabled()))
        self.now += self.taken.pop(0)
        return []


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answers of an agent whose runtime gives out the session, one of a list after another, or what a
    function makes."""

    def serve(session: Any, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        class Runtime:
            gpu = False

            def load(self, path: Path, _precision: str, _threads: int, alone: bool) -> Any:
                if path.name == "missing":
                    raise DeviceError("cannot load missing")
                if callable(session):
                    return session(alone)
                return session.pop(0) if isinstance(session, list) else session

        monkeypatch.setattr(agent, "RUNTIMES", {"one": Runtime})
        lines = io.BytesIO("".join(json.dumps(request) + "\n" for request in requests).encode())
        answers = io.BytesIO()
        agent.serve(lines, answers)
        return [json.loads(line) for line in answers.getvalue().splitlines()]

    return serve


LOAD = {
    "do": "load", "id": "a", "runtime": "one", "path": "file", "precision": "fp32", "threads": 1,
    "streams": 1,
    "batch": 2, "length": 50, "vocabulary": 7, "seed": 3,
}  # fmt: skip
VISIT = {"do": "visit", "id": "a", "runs": 3, "minimum_ms": 0.0}


def test_a_visit_warms_up_and_then_takes_every_run(served: Any) -> None:
    session = Session(900, 10, 20, 30)
    loaded, visited = served(session, LOAD, VISIT)
    assert loaded == {"precision": "f32"}
    assert visited["ns"] == [10, 20, 30]
    assert [collected for _, collected in session.seen[1:]] == [False] * 3
    assert gc.isenabled()


def test_a_visit_goes_on_until_enough_time_is_spent(served: Any) -> None:
    session = Session(1, *[400_000] * 9)
    [_, answer] = served(session, LOAD, {**VISIT, "minimum_ms": 2.0})
    assert answer["ns"] == [400_000] * 5


def test_a_run_takes_its_share_of_what_the_meters_counted(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter([{"package": (100, 0)}, {"package": (400, 0)}])
    monkeypatch.setattr(agent, "meters", lambda _gpu: next(states))
    assert served(Session(1, 10, 20, 30), LOAD, VISIT)[1]["uj"] == 100.0


def test_it_tells_the_most_memory_it_had(served: Any) -> None:
    [answer] = served(None, {"do": "memory"})
    assert answer["peak_bytes"] > 10e6


def test_it_probes_its_speed(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "_PROBE_SECONDS", 0.01)
    [answer] = served(None, {"do": "speed"})
    assert 0.1 < answer["macs"] < 1e4
    assert 0.1 < answer["bytes"] < 1e4


def test_streams_run_side_by_side_and_take_turns_where_the_device_has_a_clock(served: Any) -> None:
    sessions = [Session(1, *[nanoseconds] * 8) for nanoseconds in (10, 30)]
    [_, answer] = served([*sessions], {**LOAD, "streams": 2}, {**VISIT, "runs": 2})
    assert answer["ns"] == [20, 20]
    assert [len(session.seen) for session in sessions] == [9, 9]


def test_streams_without_a_clock_of_their_own_run_at_once(served: Any) -> None:
    class Meeting:
        """Runs only when four do at once, but for the first run of each, which is its warm-up."""

        precision, settle_ms, clock = "f32", 0.0, None

        def __init__(self) -> None:
            self.warm_ups, self.meeting = 4, threading.Barrier(4, timeout=30)

        def run(self, _inputs: Any) -> list[Any]:
            if self.warm_ups:
                self.warm_ups -= 1
            else:
                self.meeting.wait()
            return []

    [_, answer] = served(Meeting(), {**LOAD, "streams": 4}, {**VISIT, "runs": 1})
    assert len(answer["ns"]) == 1


@pytest.mark.parametrize("streams", [1, 2])
def test_a_runtime_is_told_whether_its_model_runs_alone(served: Any, streams: int) -> None:
    told: list[bool] = []
    served(lambda alone: told.append(alone) or Session(1), {**LOAD, "streams": streams})
    assert told == [streams == 1] * streams


def test_inputs_are_random_ids_below_the_vocabulary_from_the_seed(served: Any) -> None:
    sessions = [Session(1, 1) for _ in range(3)]
    visit = {**VISIT, "runs": 1}
    for session, seed in zip(sessions, (3, 3, 4), strict=True):
        served(session, {**LOAD, "seed": seed}, visit)
    one, same, other = (session.seen[0][0] for session in sessions)
    ids = one["input_ids"]
    assert (ids.shape, ids.dtype) == ((2, 50), np.int64)
    assert set(ids.ravel()) == set(range(7))
    assert (one["attention_mask"] == 1).all()
    assert (one["token_type_ids"] == 0).all()
    np.testing.assert_array_equal(ids, same["input_ids"])
    assert (ids != other["input_ids"]).any()


def test_what_fails_is_answered_and_the_next_request_served(served: Any) -> None:
    answers = served(
        Session(), {**LOAD, "path": "missing"}, {"do": "dance"}, VISIT, LOAD, VISIT,
        {"do": "unload", "id": "a"}, {"do": "stop"}, LOAD,
    )  # fmt: skip
    assert answers[0] == {"error": "cannot load missing"}
    assert ["error" in answer for answer in answers] == [True, True, True, False, True, False]


def test_it_watches_the_machine_and_counts_its_own_time(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "_MOST_BYTES", 2**20)
    watch = {"do": "watch"}
    *watched, own = served(None, watch, watch, {"do": "processor"})
    for answer in watched:
        assert answer["compute"] > 0
        assert answer["memory"] > 0
        assert {"busy", "steal", "throttled", "pressure", "mhz"} <= {*answer}
    assert watched[1]["wall"] > watched[0]["wall"]
    assert own["seconds"] > 0


def test_the_archive_is_the_same_every_time_and_stands_alone(tmp_path: Path) -> None:
    one, two = (build_archive(tmp_path / name) for name in ("one.pyz", "two.pyz"))
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {
            "__main__.py", "devices", "profiler",
        }  # fmt: skip
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    noisy = '{"do": "processor"}\n{"do": "stop"}\n'
    done = subprocess.run(
        [sys.executable, str(one)],
        input=noisy, capture_output=True, text=True, cwd=tmp_path, env=alone, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["seconds"] > 0


def test_what_a_runtime_prints_does_not_reach_the_protocol(tmp_path: Path) -> None:
    archive = build_archive(tmp_path / "agent.pyz")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(
            "loud.py",
            "import os, devices.runtimes as r\n"
            "class Loud:\n"
            "    def load(self, *_, **__):\n"
            "        print('python'); os.write(1, b'C library\\n'); os.system('echo a child')\n"
            "        raise ValueError('done shouting')\n",
        )
    start = (
        f"import sys, runpy; sys.path.insert(0, {str(archive)!r}); import loud;"
        "from devices.runtimes import RUNTIMES; RUNTIMES._entries['loud'] = 'loud:Loud';"
        f"runpy.run_path({str(archive)!r}, run_name='__main__')"
    )
    request = json.dumps({**LOAD, "runtime": "loud"}) + "\n"
    done = subprocess.run(
        [sys.executable, "-c", start], input=request, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"error": "ValueError: done shouting"}
    for said in ("python", "C library", "a child"):
        assert said in done.stderr

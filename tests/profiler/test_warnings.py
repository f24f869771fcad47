from __future__ import annotations

from collections.abc import Sequence

import pytest

from devices.target import Target
from profiler import gate
from profiler.statistics import summarise
from profiler.visit import Visit
from profiler.warnings import Doubt, judge

REAL = Target("local", "onnxruntime", "fp32", 1)
STEADY = [[1.0, 1.01]] * 9


def doubts(
    runs: Sequence[Sequence[float]],
    target: Target = REAL,
    used: str = "f32",
    causes: Sequence[tuple[str, ...]] = (),
    processes: Sequence[str] = (),
    started: Sequence[float] = (),
) -> tuple[Doubt, ...]:
    visits = [
        Visit(
            started[i] if started else float(i),
            tuple(taken),
            processes[i] if processes else "",
            causes[i] if i < len(causes) else (),
        )
        for i, taken in enumerate(runs)
    ]
    statistics = summarise(runs, [visit.quiet for visit in visits])
    return judge(visits, statistics, target, used)


def test_nothing_to_doubt() -> None:
    assert doubts(STEADY) == ()


@pytest.mark.parametrize(
    ("visits", "target", "used", "doubt"),
    [
        (STEADY[:8], REAL, "f32", Doubt.FEW_VISITS),
        ([*STEADY, *[[1.3]] * 4], REAL, "f32", Doubt.CONTENDED),
        ([[1 + 0.1 * i] for i in range(9)], REAL, "f32", Doubt.WIDE_INTERVAL),
        ([[1.0], [2.0], [3.0]], REAL, "f32", Doubt.WIDE_INTERVAL),  # its lower end is 0
        (STEADY, REAL, "bf16", Doubt.PRECISION_DIFFERS),
        (STEADY, Target("local", "openvino", "bf16", 1), "f32", Doubt.PRECISION_DIFFERS),
        (STEADY, Target("local", "openvino", "int8", 1), "int8-bf16", Doubt.PRECISION_DIFFERS),
        (STEADY, Target("fake", "fake", "fp32", 1), "f32", Doubt.VIRTUAL_CLOCK),
    ],
)  # fmt: skip
def test_each_doubt(visits: list[list[float]], target: Target, used: str, doubt: Doubt) -> None:
    assert doubt in doubts(visits, target, used)


@pytest.mark.parametrize(
    ("cause", "doubt"),
    [
        (gate.LOADED, Doubt.LOADED),
        (gate.STOLEN, Doubt.STOLEN),
        (gate.THROTTLED, Doubt.THROTTLED),
        (gate.SLOW_COMPUTE, Doubt.UNSTEADY),
        (gate.SLOW_MEMORY, Doubt.UNSTEADY),
    ],
)
def test_each_disturbance(cause: str, doubt: Doubt) -> None:
    assert doubts([[1.5], *STEADY], causes=[(cause,)]) == (doubt,)
    many = [[1.0]] * 40
    assert doubts([[1.5], *many], causes=[(cause,)]) == ()  # one of forty is nothing


def test_never_quiet() -> None:
    found = doubts(STEADY, causes=[(gate.LOADED,)] * 9)
    assert {Doubt.NEVER_QUIET, Doubt.LOADED, Doubt.FEW_VISITS} <= {*found}


def test_two_starts_that_differ() -> None:
    apart = [[1.0]] * 9 + [[1.04]] * 9
    assert Doubt.PROCESSES_DIFFER in doubts(apart, processes=["a"] * 9 + ["b"] * 9)
    assert Doubt.PROCESSES_DIFFER not in doubts(apart, processes=["a", "b"] * 9)
    assert Doubt.PROCESSES_DIFFER not in doubts(apart[:11], processes=["a"] * 9 + ["b"] * 2)


def test_a_date_that_goes_back() -> None:
    assert doubts(STEADY, started=[5000.0, *range(8)]) == (Doubt.CLOCK_JUMPED,)


def test_episodes_in_less_than_a_quarter_of_the_visits_are_no_contention() -> None:
    assert Doubt.CONTENDED not in doubts([*STEADY, [1.5], [1.5]])


def test_every_doubt_has_a_cause_and_a_next_step() -> None:
    for doubt in Doubt:
        assert doubt.value.endswith(".")
        assert len(doubt.value.split(". ")) >= 2

"""What the gate makes of readings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from profiler import gate
from profiler.gate import Gate, GpuGate, Reading

CALM = Reading(
    started=0.0, wall=0.0, compute=1.0, memory=20.0, own=0.0, busy=0.0, steal=0.0, throttled=0.0,
    pressure=0.0, mhz=None,
)  # fmt: skip


def calm(second: int) -> Reading:
    """One second on: our own work kept one processor busy."""
    return replace(CALM, wall=float(second), own=float(second), busy=1.02 * second)


def judged(**changes: float | None) -> tuple[str, ...]:
    opened = Gate()
    for second in range(5):
        assert opened.add(calm(second)) == ()
    return opened.add(replace(calm(5), **changes))


def test_our_own_work_disturbs_nobody() -> None:
    assert judged() == ()


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"busy": 5.9}, gate.LOADED),
        ({"steal": 0.05}, gate.STOLEN),
        ({"throttled": 1.0}, gate.THROTTLED),
        ({"compute": 1.07}, gate.SLOW_COMPUTE),
    ],
)
def test_each_cause_is_told(changes: dict[str, float], cause: str) -> None:
    assert judged(**changes) == (cause,)


def test_a_canary_taints_the_stretches_on_both_sides() -> None:
    opened = Gate()
    for second in range(4):
        opened.add(calm(second))
    assert opened.add(replace(calm(4), compute=1.2)) == (gate.SLOW_COMPUTE,)
    assert opened.add(calm(5)) == (gate.SLOW_COMPUTE,)
    assert opened.add(calm(6)) == ()


def test_a_memory_that_stays_slow_is_told_and_a_flicker_is_not() -> None:
    opened = Gate()
    for second in range(9):
        opened.add(calm(second))
    slow = [replace(calm(second), memory=26.0) for second in range(9, 14)]
    assert [opened.add(reading) for reading in slow] == [(), (), *[(gate.SLOW_MEMORY,)] * 3]


def test_what_the_machine_does_not_tell_disturbs_nothing() -> None:
    assert judged(busy=None, steal=None, throttled=None) == ()


def test_a_machine_that_is_always_slow_is_usual() -> None:
    opened = Gate()
    assert not any(opened.add(replace(calm(s), compute=3.0, memory=90.0)) for s in range(6))


def test_earlier_campaigns_tell_what_is_usual() -> None:
    noisy = [replace(calm(second), memory=26.0) for second in range(5)]
    forgetful, knowing = Gate(), Gate([calm(second) for second in range(100)])
    assert [forgetful.add(reading) for reading in noisy] == [()] * 5
    assert [knowing.add(reading) for reading in noisy] == [(), *[(gate.SLOW_MEMORY,)] * 4]


def test_a_gpu_that_clocks_down_disturbs_the_visit() -> None:
    opened = GpuGate()
    assert opened.judge(1980.0, 0.0) == ()
    assert opened.judge(1935.0, 0.0) == ()
    assert opened.judge(1900.0, 0.0) == (gate.SLOW_GPU,)
    assert opened.judge(1980.0, 1.0) == (gate.SLOW_GPU,)
    assert opened.judge(None, None) == ()

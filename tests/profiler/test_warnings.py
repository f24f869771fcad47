from __future__ import annotations

import pytest

from devices.target import Target
from profiler.warnings import Doubt, judge

REAL = Target("local", "onnxruntime", "fp32", 1)
STEADY = [[1.0, 1.01]] * 9


def test_nothing_to_doubt() -> None:
    assert judge(STEADY, REAL, "f32") == ()


@pytest.mark.parametrize(
    ("visits", "target", "used", "doubt"),
    [
        (STEADY[:8], REAL, "f32", Doubt.FEW_VISITS),
        ([*STEADY, *[[1.3]] * 4], REAL, "f32", Doubt.CONTENDED),
        ([[1 + 0.1 * i] for i in range(9)], REAL, "f32", Doubt.WIDE_INTERVAL),
        (STEADY, REAL, "bf16", Doubt.PRECISION_DIFFERS),
        (STEADY, Target("local", "openvino", "bf16", 1), "f32", Doubt.PRECISION_DIFFERS),
        (STEADY, Target("local", "openvino", "int8", 1), "int8-bf16", Doubt.PRECISION_DIFFERS),
        (STEADY, Target("fake", "fake", "fp32", 1), "f32", Doubt.VIRTUAL_CLOCK),
    ],
)  # fmt: skip
def test_each_doubt(visits: list[list[float]], target: Target, used: str, doubt: Doubt) -> None:
    assert doubt in judge(visits, target, used)


def test_episodes_in_less_than_a_quarter_of_the_visits_are_no_contention() -> None:
    assert Doubt.CONTENDED not in judge([*STEADY, [1.5], [1.5]], REAL, "f32")


def test_every_doubt_has_a_cause_and_a_next_step() -> None:
    for doubt in Doubt:
        assert doubt.value.endswith(".")
        assert len(doubt.value.split(". ")) >= 2

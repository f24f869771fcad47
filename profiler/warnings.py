"""Everything that a measurement can be doubted for: a closed list, each with its next step."""

from __future__ import annotations

from enum import Enum

from devices.target import Target
from profiler.statistics import LEAST_VISITS, Visits, contention, summarise

_CONTENDED = 1.2
_WIDE = 0.05
_COMPUTES = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "int8"}


class Doubt(Enum):
    """A cause, and what to do about it."""

    FEW_VISITS = (
        f"Fewer than {LEAST_VISITS} visits: the minimum stands for the low quantile. Measure with "
        f"--visits {LEAST_VISITS} or more."
    )
    CONTENDED = (
        "A quarter of the visits took at least 1.2 times as long as the quickest: something else "
        "uses this machine. Stop it, or measure over a longer time with more --visits."
    )
    WIDE_INTERVAL = (
        "The interval of p20 is wider than 5 %. Measure with more --visits before trusting a close "
        "call."
    )
    PRECISION_DIFFERS = (
        "The runtime computes in another precision than asked for. Choose a target in the "
        "precision that it uses, or another runtime."
    )
    VIRTUAL_CLOCK = (
        "The times are computed, not taken: the fake device is for trying things out. Measure on "
        "a real target before relying on them."
    )


def judge(visits: Visits, target: Target, used: str) -> tuple[Doubt, ...]:
    """What to doubt, given raw visits in ms and the precision that was really ``used``."""
    low, high = summarise(visits).interval
    found = {
        Doubt.FEW_VISITS: len(visits) < LEAST_VISITS,
        Doubt.CONTENDED: contention(visits) > _CONTENDED,
        Doubt.WIDE_INTERVAL: high / low - 1 > _WIDE,
        Doubt.PRECISION_DIFFERS: used != _COMPUTES.get(target.precision, target.precision),
        Doubt.VIRTUAL_CLOCK: target.virtual,
    }
    return tuple(doubt for doubt, holds in found.items() if holds)

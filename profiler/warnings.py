"""Everything that a measurement can be doubted for: a closed list, each with its next step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from enum import Enum
from itertools import pairwise

from devices.precision import PRECISIONS
from devices.runtimes import RUNTIMES
from devices.target import Target
from profiler import gate
from profiler.statistics import LEAST_VISITS, Statistics, contention
from profiler.visit import Visit

_CONTENDED = 1.2
_WIDE = 0.05
_DISTURBED = 0.05  # share of visits with one cause that is worth a warning
_PROCESSES = 0.03
_JUMP = 2.0  # seconds that visits may seem to go back in time


class Doubt(Enum):
    """A cause, and what to do about it."""

    FEW_VISITS = (
        f"Fewer than {LEAST_VISITS} undisturbed visits, so the least of them may be far from the "
        "intrinsic latency. Measure with --visits 30 or more."
    )
    NEVER_QUIET = (
        "No visit was undisturbed, so the intrinsic latency may be too high. `cutonce devices check` "
        "says what disturbs this machine; measure again without it."
    )
    LOADED = (
        "Other processes used the processors during some visits, which were taken again. Stop them, or "
        "leave it: the contended quantiles hold what they cost."
    )
    STOLEN = (
        "The hypervisor gave processor time to others during some visits, which were taken again. "
        "Measure at a quieter hour, or on a machine with processors of its own."
    )
    THROTTLED = (
        "This container ran into its processor quota during some visits, which were taken again. Raise "
        "the quota, or measure with fewer threads (@1)."
    )
    UNSTEADY = (
        "The canaries ran slower than usual during some visits, which were taken again: a neighbour on "
        "the same hardware, or the clock. Measure over a longer time with more --visits."
    )
    GPU_SLOWED = (
        "The GPU's clock fell during some visits, which were taken again: heat, its power limit, or "
        "idleness. Lock its clock (sudo nvidia-smi -lgc MHZ) below what it can hold."
    )
    CONTENDED = (
        "A quarter of the visits took at least 1.2 times as long as the quickest: something else "
        "uses this machine. Stop it, or measure over a longer time with more --visits."
    )
    WIDE_INTERVAL = (
        "The interval of the intrinsic latency is wider than 5 %. Measure with more --visits before "
        "trusting a close call."
    )
    PROCESSES_DIFFER = (
        "Two starts of the process differ by more than 3 %: where memory came to lie matters for this "
        "model. Measure again, and take the difference for the error."
    )
    CLOCK_JUMPED = (
        "The machine's date jumped during the campaign, so visits are not in their true order. The "
        "milliseconds stand, since they come from a steady clock; mend the clock (NTP)."
    )
    PRECISION_DIFFERS = (
        "The runtime computes in another precision than asked for. Choose a target in the "
        "precision that it uses, or another runtime."
    )
    ELSEWHERE = (
        "The runtime stands for another one, as Node does for a browser: its answers are the same, its "
        "times are not. Measure where the model is to run."
    )
    EMULATED = (
        "The processor is emulated: its answers are the real one's, its times are the emulator's. "
        "Measure on the real one before relying on them."
    )
    VIRTUAL_CLOCK = (
        "The times are computed, not taken: the fake device is for trying things out. Measure on "
        "a real target before relying on them."
    )


def judge(
    visits: Sequence[Visit], statistics: Statistics, target: Target, used: str
) -> tuple[Doubt, ...]:
    """What to doubt, given raw visits, their statistics and the precision that was really ``used``."""
    low, high = statistics.interval
    quiet = [visit for visit in visits if visit.quiet]

    def disturbed(*causes: str) -> bool:
        hit = sum(bool({*causes} & {*visit.causes}) for visit in visits)
        return hit > _DISTURBED * len(visits)

    found = {
        Doubt.FEW_VISITS: statistics.quiet < LEAST_VISITS,
        Doubt.NEVER_QUIET: not quiet,
        Doubt.LOADED: disturbed(gate.LOADED),
        Doubt.STOLEN: disturbed(gate.STOLEN),
        Doubt.THROTTLED: disturbed(gate.THROTTLED),
        Doubt.UNSTEADY: disturbed(gate.SLOW_COMPUTE, gate.SLOW_MEMORY),
        Doubt.GPU_SLOWED: disturbed(gate.SLOW_GPU),
        Doubt.CONTENDED: contention([v.milliseconds for v in quiet or visits]) > _CONTENDED,
        Doubt.WIDE_INTERVAL: high > (1 + _WIDE) * low,
        Doubt.PROCESSES_DIFFER: _processes_differ(quiet),
        Doubt.CLOCK_JUMPED: _goes_back(visits),
        Doubt.PRECISION_DIFFERS: used != PRECISIONS[target.precision].computes,
        Doubt.ELSEWHERE: bool(RUNTIMES.get(target.runtime).stands_for),
        Doubt.EMULATED: target.emulated,
        Doubt.VIRTUAL_CLOCK: target.virtual,
    }
    return tuple(doubt for doubt, holds in found.items() if holds)


def _processes_differ(visits: Sequence[Visit]) -> bool:
    """Between process starts with at least three visits each."""
    starts: dict[str, list[float]] = defaultdict(list)
    for visit in visits:
        starts[visit.process].append(min(visit.milliseconds))
    levels = [min(minima) for minima in starts.values() if len(minima) >= 3]
    return len(levels) > 1 and bool(max(levels) > (1 + _PROCESSES) * min(levels))


def _goes_back(visits: Sequence[Visit]) -> bool:
    times = [visit.started for visit in visits]
    return any(later < earlier - _JUMP for earlier, later in pairwise(times))

"""The gate: which visits were disturbed, told by two canaries and the machine's own counters.

A disturbed visit is kept and counts, but another is taken in its place. Nothing is ever divided by a
canary: a compute canary moved by 0.1 % while memory-bound models moved by 26 %, and dividing doubled
the error of a public study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Times the canary's usual value on this machine. On a shared one the compute canary is 5 % slower beside
# a busy neighbour for minutes on end, and the memory canary flickers by 7 %, so that the median of some
# readings counts. Closer gates double the visits there, and the least visit needs no gate to be found.
COMPUTE, MEMORY = 1.06, 1.25
SMOOTHED = 5  # readings
QUANTILE = 0.1  # of a canary's values that is its usual one
LOAD = 0.1  # processors that others keep busy
STEAL = 0.02  # processors that the hypervisor gave to others
GPU_CLOCK = 0.97  # of the highest clock that a GPU ran at in the campaign

LOADED, STOLEN, THROTTLED = "load", "steal", "throttled"
SLOW_COMPUTE, SLOW_MEMORY, UNWATCHED = "compute", "memory", "unwatched"
SLOW_GPU = "gpu"


@dataclass(frozen=True)
class Reading:
    """One look at a machine.

    Attributes:
        started: Unix seconds. wall: seconds of its own steady clock.
        compute, memory: milliseconds of the canaries.
        own: processor seconds of the campaign's own processes, since they were started.
        busy, steal, throttled, pressure, mhz: see :func:`devices.counters.counters`.
    """

    started: float
    wall: float
    compute: float
    memory: float
    own: float
    busy: float | None
    steal: float | None
    throttled: float | None
    pressure: float | None
    mhz: float | None

    @classmethod
    def of(cls, answer: Mapping[str, Any], started: float, own: float) -> Reading:
        return cls(started=started, own=own, **answer)


class Gate:
    """Judges the stretch of time between two readings, by all readings so far.

    Args:
        known: readings of the same machine by earlier campaigns, without which a campaign that saw no
            quiet moment would take noise for the usual.
    """

    def __init__(self, known: Sequence[Reading] = ()) -> None:
        self._known = known
        self._readings: list[Reading] = []

    def add(self, reading: Reading) -> tuple[str, ...]:
        """What disturbed the stretch that ends with ``reading``; empty where nothing did."""
        self._readings.append(reading)
        if len(self._readings) < 2:
            return ()
        before, after = self._readings[-2:]
        seconds = max(after.wall - before.wall, 1e-9)
        busy = _risen(before.busy, after.busy) - (after.own - before.own)
        causes = {
            LOADED: busy / seconds > LOAD,
            STOLEN: _risen(before.steal, after.steal) / seconds > STEAL,
            THROTTLED: _risen(before.throttled, after.throttled) > 0,
            SLOW_COMPUTE: max(before.compute, after.compute) > COMPUTE * self._usual("compute"),
            SLOW_MEMORY: self._memory() > MEMORY * self._usual("memory"),
        }
        return tuple(cause for cause, holds in causes.items() if holds)

    def _memory(self) -> float:
        return float(np.median([reading.memory for reading in self._readings[-SMOOTHED:]]))

    def _usual(self, canary: str) -> float:
        readings = (*self._known, *self._readings)
        return float(np.quantile([getattr(reading, canary) for reading in readings], QUANTILE))


class GpuGate:
    """Judges visits to a GPU, by what it says of itself right after each."""

    def __init__(self) -> None:
        self._highest = 0.0

    def judge(self, mhz: float | None, slowed: float | None) -> tuple[str, ...]:
        """What disturbed the visit; see :func:`devices.gpu.gpu_counters`."""
        if mhz is None:
            return ()
        self._highest = max(self._highest, mhz)
        return (SLOW_GPU,) if slowed or mhz < GPU_CLOCK * self._highest else ()


def _risen(before: float | None, after: float | None) -> float:
    """The rise of a counter, 0 where the machine does not tell."""
    return 0.0 if before is None or after is None else after - before

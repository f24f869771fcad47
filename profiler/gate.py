"""The gate: which visits were disturbed, told by two canaries and the machine's own counters.

A disturbed visit is taken again. It is kept all the same: the contended quantiles are over all runs,
the intrinsic one over undisturbed visits. Nothing is ever divided by a canary: a compute canary moved
by 0.1 % while memory-bound models moved by 26 %, and dividing doubled the error of a public study.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# Times the canary's own low quantile. On a shared machine the canaries move by 7 and 20 % all the time,
# within milliseconds, which the low quantile over visits leaves out better than any gate: gating at 1.05
# and 1.10 threw away visits at random, and two campaigns differed by 2.9 % instead of 1.7 %.
COMPUTE, MEMORY = 1.15, 1.50
QUANTILE = 0.2
LOAD = 0.1  # processors that others keep busy
STEAL = 0.02  # processors that the hypervisor gave to others

LOADED, STOLEN, THROTTLED = "load", "steal", "throttled"
SLOW_COMPUTE, SLOW_MEMORY, UNWATCHED = "compute", "memory", "unwatched"


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
    """Judges the stretch of time between two readings, by all readings of the campaign so far."""

    def __init__(self) -> None:
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
            SLOW_MEMORY: max(before.memory, after.memory) > MEMORY * self._usual("memory"),
        }
        return tuple(cause for cause, holds in causes.items() if holds)

    def _usual(self, canary: str) -> float:
        return float(np.quantile([getattr(r, canary) for r in self._readings], QUANTILE))


def _risen(before: float | None, after: float | None) -> float:
    """The rise of a counter, 0 where the machine does not tell."""
    return 0.0 if before is None or after is None else after - before

"""A latency budget: what the user asks of one target."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from devices.errors import UsageError
from devices.target import Target
from profiler.measurement import Measurement

Bound = Literal["intrinsic", "p90"]
_LIMIT = re.compile(r"(?P<value>\d+(?:\.\d*)?|\.\d+)(?P<unit>ms|x)(?::(?P<bound>intrinsic|p90))?")


@dataclass(frozen=True)
class Budget:
    """``TARGET=4ms[:p90]``, or ``TARGET=0.7x[:p90]`` as a fraction of the dense model's latency.

    ``intrinsic`` bounds what the model costs when nothing disturbs it; ``p90`` bounds the contended 90th
    percentile of all runs.
    """

    text: str
    target: Target
    value: float
    relative: bool
    bound: Bound

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Raises UsageError or UnknownName where ``text`` is no budget."""
        target, equals, limit = text.partition("=")
        match = _LIMIT.fullmatch(limit)
        if not equals or not match or float(match["value"]) <= 0:
            raise UsageError(
                f"Budget {text!r} is not TARGET=4ms[:p90] or TARGET=0.7x[:p90], "
                "for example local/openvino/int8=4ms."
            )
        bound: Bound = "p90" if match["bound"] == "p90" else "intrinsic"
        return cls(text, Target.parse(target), float(match["value"]), match["unit"] == "x", bound)

    @property
    def name(self) -> str:
        """This budget as a file name."""
        unit = "x" if self.relative else "ms"
        tail = "-p90" if self.bound == "p90" else ""
        return f"{self.target.slug}-{self.value:g}{unit}{tail}"

    def limit(self, dense: Measurement) -> float:
        """Milliseconds allowed, given the dense model's measurement on this target."""
        return self.value * bounded(dense, self.bound) if self.relative else self.value


def bounded(measurement: Measurement, bound: Bound) -> float:
    """The milliseconds of ``measurement`` that a budget with this ``bound`` is about."""
    return float(getattr(measurement.statistics, bound))

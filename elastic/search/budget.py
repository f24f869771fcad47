"""A budget: what the user asks of one sub-network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from devices.errors import UsageError
from devices.target import Target
from profiler.measurement import Measurement

Bound = Literal["intrinsic", "p90", "file", "memory"]
_LIMIT = re.compile(
    r"(?P<value>\d+(?:\.\d*)?|\.\d+)"
    r"(?:(?P<unit>ms|x)(?::(?P<latency>intrinsic|p90))?|MB(?::(?P<size>file|memory))?)"
)


@dataclass(frozen=True)
class Constraint:
    """What may not be exceeded on one target.

    Attributes:
        value: milliseconds or MB; a fraction of what the dense model takes where ``relative``.
        bound: ``intrinsic`` is what the model costs when nothing disturbs it, ``p90`` the contended 90th
            percentile of all runs; ``file`` is the size of what is exported, ``memory`` the most that a
            process takes which runs it.
    """

    target: Target
    value: float
    relative: bool
    bound: Bound

    @property
    def is_latency(self) -> bool:
        return self.bound in ("intrinsic", "p90")

    @property
    def unit(self) -> str:
        return "ms" if self.is_latency else "MB"

    @property
    def text(self) -> str:
        """This constraint as it is written in a budget."""
        unit = "x" if self.relative else self.unit
        tail = "" if self.bound == "intrinsic" else f":{self.bound}"
        return f"{self.target}={self.value:g}{unit}{tail}"

    def limit(self, dense: float) -> float:
        """Milliseconds or MB allowed where the dense model takes ``dense``."""
        return self.value * dense if self.relative else self.value


@dataclass(frozen=True)
class Budget:
    """``TARGET=4ms[:p90]``, or ``TARGET=0.7x[:p90]`` as a fraction of the dense model's latency; behind
    commas further limits of the same target, also ``20MB[:file]`` or ``200MB:memory``, or of another one.

    Attributes:
        constraints: a latency first; all hold for one sub-network.
    """

    text: str
    constraints: tuple[Constraint, ...]

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Raises UsageError or UnknownName where ``text`` is no budget."""
        found: list[Constraint] = []
        for part in text.split(","):
            name, equals, limit = part.strip().rpartition("=")
            match = _LIMIT.fullmatch(limit)
            if not match or not float(match["value"]) > 0 or bool(equals) == (not name):
                raise _none(text)
            if not name and not found:
                raise _none(text)
            target = Target.parse(name) if name else found[-1].target
            found.append(
                Constraint(target, float(match["value"]), match["unit"] == "x", _bound(match))
            )
        if not found[0].is_latency:
            raise _none(text)
        _check_each_once(text, found)
        return cls(text, tuple(found))

    @property
    def first(self) -> Constraint:
        """The latency on the target that the sub-network is made for."""
        return self.constraints[0]

    @property
    def target(self) -> Target:
        """That the sub-network is made for."""
        return self.first.target

    @property
    def name(self) -> str:
        """This budget as a file name."""
        parts = [_slug(self.first, None)]
        for before, constraint in zip(self.constraints, self.constraints[1:], strict=False):
            parts.append(_slug(constraint, before.target))
        return "-".join(parts)


def bounded(measurement: Measurement, bound: Bound) -> float:
    """The milliseconds of ``measurement`` that a latency ``bound`` is about."""
    return float(getattr(measurement.statistics, bound))


def _bound(limit: re.Match[str]) -> Bound:
    if limit["unit"]:
        return "p90" if limit["latency"] == "p90" else "intrinsic"
    return "memory" if limit["size"] == "memory" else "file"


def _slug(constraint: Constraint, before: Target | None) -> str:
    value = constraint.text.removeprefix(f"{constraint.target}=").replace(":", "-")
    same = constraint.target == before
    return value if same else f"{constraint.target.slug}-{value}"


def _check_each_once(text: str, constraints: list[Constraint]) -> None:
    known = [(constraint.target, constraint.bound) for constraint in constraints]
    twice = next((key for key in known if known.count(key) > 1), None)
    if twice is not None:
        raise UsageError(
            f"Budget {text!r} bounds the {twice[1]} of {twice[0]} twice; give the smaller limit alone."
        )


def _none(text: str) -> UsageError:
    return UsageError(
        f"Budget {text!r} is not TARGET=4ms[:p90] or TARGET=0.7x[:p90], with further limits behind "
        "commas (20MB, 200MB:memory, TARGET=3ms); for example local/openvino/int8=4ms,20MB."
    )

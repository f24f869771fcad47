"""Visit: what one subject took, some runs in a row, and whether anything disturbed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Visit:
    """Some runs in a row.

    Attributes:
        started: Unix seconds.
        milliseconds: of each run.
        process: names the process start that it was taken in.
        causes: what disturbed it (profiler.gate); empty where nothing did.
        microjoules: per run, by the machine's meters (devices.energy); None where it has none.
    """

    started: float
    milliseconds: tuple[float, ...]
    process: str = ""
    causes: tuple[str, ...] = ()
    microjoules: float | None = None

    @property
    def quiet(self) -> bool:
        return not self.causes

    def to_json(self) -> dict[str, Any]:
        return {
            "started": self.started,
            "ms": list(self.milliseconds),
            "process": self.process,
            "causes": list(self.causes),
            "microjoules": self.microjoules,
        }

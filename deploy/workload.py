"""What an encoder is asked to do at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from deploy.architecture import Architecture
from devices.errors import UsageError


@dataclass(frozen=True)
class Workload:
    """A batch of ``batch`` sequences of ``length`` tokens each."""

    batch: int = 1
    length: int = 128

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, int) or value < 1:
                raise UsageError(
                    f"Workload {name} must be a whole number of at least 1, not {value!r}."
                )

    @property
    def tokens(self) -> int:
        return self.batch * self.length

    def require_fits(self, architecture: Architecture) -> None:
        """Raises UsageError where the architecture has fewer positions than the sequences have tokens."""
        if self.length > architecture.positions:
            raise UsageError(
                f"Length {self.length} is more than the {architecture.positions} positions of "
                f"{architecture}; measure it with a shorter --length."
            )

    def __str__(self) -> str:
        return f"batch {self.batch} × length {self.length}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Workload:
        return cls(**data)

"""The one exception tree.

    CutonceError                 1   anything cutonce reports about its work
    ├── UsageError               2   a value that the user gave cannot be used
    │   └── UnknownName          2   a name that no registry or column list holds
    ├── MissingDependency        1   an optional package is not installed
    ├── ModelError               1   a model or tokenizer cannot be loaded, or is not supported
    ├── DataError                1   a data file cannot be read or lacks what the task needs
    ├── DeviceError              1   a device, its agent or a runtime failed
    │   ├── AgentDied            1   an agent's process is gone, with all that it had loaded
    │   └── Unreachable          1   the way to a device is cut, or was never there
    ├── StoreError               1   the measurement store cannot be opened, read or written
    ├── ArtifactError            1   a directory is no artifact that can be read here
    │   └── ArtifactChanged      3   a file of an artifact is missing, damaged or not its own
    └── GateNotMet               3   the work was done; what came out does not hold
        ├── BudgetUnreachable    3   no architecture of the space fits the budget
        ├── ParityFailed         3   an exported file does not answer as the original does
        └── NotTrustworthy       3   a measurement that ``--strict`` refuses

Every message is one sentence or two: the value, what was expected, the way out.

    try:
        cutonce.search(model, budgets=["local/openvino/fp32=4ms"])
    except CutonceError as error:
        sys.exit(error.exit_code)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class CutonceError(Exception):
    """Root of everything that cutonce raises on purpose."""

    exit_code = 1


class UsageError(CutonceError):
    """A value that the user gave cannot be used."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that is not among the known ones; the message suggests the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        self._given = (kind, name, tuple(known))
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(known) or 'none'}.")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._given  # the message alone would not make it again elsewhere


class MissingDependency(CutonceError):
    """An optional package is not installed; the message names the pip line."""


class ModelError(CutonceError):
    """A model or tokenizer cannot be loaded, or is not supported."""


class DataError(CutonceError):
    """A data file cannot be read or lacks what the task needs."""


class DeviceError(CutonceError):
    """A device, its agent or a runtime failed."""


class AgentDied(DeviceError):
    """An agent's process is gone, with all that it had loaded; another can be started."""


class Unreachable(DeviceError):
    """The way to a device is cut, or was never there; it may come back."""


class StoreError(CutonceError):
    """The measurement store cannot be opened, read or written."""


class ArtifactError(CutonceError):
    """A directory is no artifact that can be read here."""


class ArtifactChanged(ArtifactError):
    """A file of an artifact is missing, damaged or not its own."""

    exit_code = 3


class GateNotMet(CutonceError):
    """The work was done; what came out does not hold."""

    exit_code = 3


class BudgetUnreachable(GateNotMet):
    """No architecture of the space fits the budget."""


class ParityFailed(GateNotMet):
    """An exported file does not answer as the original does."""


class NotTrustworthy(GateNotMet):
    """A measurement that ``--strict`` refuses."""

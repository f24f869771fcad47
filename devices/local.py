"""The machine that cutonce runs on."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from devices.errors import UsageError
from devices.interpreter import InterpreterDevice
from devices.look import Look, look_here


class LocalDevice(InterpreterDevice):
    """This machine, through the Python that runs here."""

    name = "local"

    def __init__(self, detail: str = "") -> None:
        if detail:
            raise UsageError(
                f"Device 'local' takes nothing after a colon, not {detail!r}; write 'local'."
            )

    @property
    def look(self) -> Look:  # no process need be asked
        return look_here()

    def put(self, path: Path) -> str:
        return str(path.resolve())

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, *arguments]

    def _environment(self) -> Mapping[str, str]:
        return os.environ

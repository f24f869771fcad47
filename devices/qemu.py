"""A foreign architecture on this machine: its Python runs under qemu's user-mode emulation.

It answers as the real processor would, so that parity can be proved; its times are the emulator's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from devices.errors import UnknownName, UsageError
from devices.interpreter import InterpreterDevice
from devices.known import known_device, known_devices
from devices.look import Look

KIND = "qemu"


class QemuDevice(InterpreterDevice):
    """``qemu:NAME``: a device that was added under that name.

    What is known of it: ``emulator``, the command of qemu; ``cpu``, the processor that it stands for;
    ``root``, a directory with the foreign system's files; ``python``, below that; ``packages``, a
    directory with the foreign Python packages.
    """

    def __init__(self, detail: str, known: Mapping[str, str] | None = None) -> None:
        known = known_device(KIND, detail) if known is None else known
        if not known:
            raise UnknownName(f"{KIND} device", detail, known_devices().get(KIND, {}))
        self.name = f"{KIND}:{detail}"
        self._emulator, self._cpu = known["emulator"], known["cpu"]
        self._root = Path(known["root"])
        self._python, self._packages = self._root / known["python"], Path(known["packages"])
        if shutil.which(self._emulator) is None or not self._python.exists():
            raise UsageError(
                f"{self.name} needs {self._emulator} and {self._python}; one of them is missing. Make it "
                "again with examples/emulated_device.py."
            )

    @cached_property
    def look(self) -> Look:
        """What it says of itself, but for the caches, which are this machine's."""
        told = super().look
        version = subprocess.run(
            [self._emulator, "--version"], capture_output=True, text=True, check=True
        ).stdout.split("\n")[0]
        who = replace(
            told.fingerprint,
            cpu=f"{self._cpu}, emulated by {version}",
            caches=(),
        )
        return replace(told, fingerprint=who)

    def put(self, path: Path) -> str:
        return str(path.resolve())

    def _command(self, *arguments: str) -> list[str]:
        root = ["-cpu", self._cpu, "-L", str(self._root)]
        return [self._emulator, *root, str(self._python), *arguments]

    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, "PYTHONPATH": str(self._packages)}

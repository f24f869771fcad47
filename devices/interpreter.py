"""A device that is reached by starting a Python on it: what all real devices have in common."""

from __future__ import annotations

import json
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from devices.archive import build_runner
from devices.errors import DeviceError, Unreachable
from devices.fingerprint import Fingerprint
from devices.look import Look
from devices.process import WORDS, ChildProcess
from devices.runner import pack, unpack
from devices.runtimes import Arrays


class InterpreterDevice(ABC):
    """Its Python does the work, in processes of their own."""

    name: str
    lost_code: int | None = None
    """The exit code of a command that could not reach the device."""

    @abstractmethod
    def _command(self, *arguments: str) -> list[str]:
        """The command of this machine that starts the device's Python with ``arguments``."""

    @abstractmethod
    def _environment(self) -> Mapping[str, str]:
        """Of that command."""

    @abstractmethod
    def put(self, path: Path) -> str: ...

    def physical_cores(self) -> int:
        return self.look.cores

    def fingerprint(self) -> Fingerprint:
        return self.look.fingerprint

    def boot(self) -> str | None:
        return self.look.boot

    def runtimes(self) -> Mapping[str, str | None]:
        return self.look.runtimes

    @cached_property
    def look(self) -> Look:
        """What the device says of itself.

        Raises:
            DeviceError: it cannot be reached, or has no Python that serves.
        """
        return Look.from_json(json.loads(self._ask({"do": "look"})))

    def start(self, archive: Path) -> ChildProcess:
        try:
            return ChildProcess(
                self._command(self.put(archive)), self._environment(), self.lost_code
            )
        except OSError as error:
            raise DeviceError(f"No agent could be started on {self.name}: {error}.") from error

    def run(
        self, runtime: str, path: Path, precision: str, threads: int, batches: Sequence[Arrays]
    ) -> list[list[np.ndarray[Any, Any]]]:
        request = {
            "do": "run", "runtime": runtime, "path": self.put(path), "precision": precision,
            "threads": threads,
        }  # fmt: skip
        try:
            answers = self._ask(request, pack(batches))
        except Unreachable:
            raise
        except DeviceError as error:
            raise DeviceError(f"{runtime} on {self.name} could not run {path}: {error}") from error
        return [list(batch.values()) for batch in unpack(answers)]

    def _ask(self, request: Mapping[str, Any], rest: bytes = b"") -> bytes:
        """What a fresh runner answers. Raises DeviceError with what it said where it failed."""
        with tempfile.TemporaryDirectory() as place:
            runner = self.put(build_runner(Path(place) / "runner.pyz"))
            return self._call(self._command(runner), json.dumps(request).encode() + b"\n" + rest)

    def _call(self, command: Sequence[str], told: bytes) -> bytes:
        """What a command of this machine answers to ``told``."""
        try:
            done = subprocess.run(
                command, input=told, capture_output=True, env=self._environment(), check=False
            )
        except OSError as error:
            raise DeviceError(f"{self.name} cannot be asked: {error}.") from error
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip()[-WORDS:]
            raise self._failure(done.returncode, words)
        return done.stdout

    def _failure(self, code: int, words: str) -> DeviceError:
        """Of a command that ended with ``code`` and said ``words``."""
        return DeviceError(words or f"it ended with code {code}")

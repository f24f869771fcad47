"""The machine that cutonce runs on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import devices
from devices.errors import DeviceError, UsageError
from devices.fingerprint import Fingerprint, local_fingerprint
from devices.runner import pack, unpack
from devices.runtimes import RUNTIMES, Arrays

_WORDS = 1000  # characters of a failed process' own words that a message repeats


class LocalProcess(subprocess.Popen[bytes]):
    """An agent in a session of its own: Ctrl-C reaches the parent alone, which then ends it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        # A file rather than a pipe: nobody reads it before the end, and a full pipe would block.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        self._words = ""
        super().__init__(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
            start_new_session=True,
        )

    def wait(self, timeout: float | None = None) -> int:
        code = super().wait(timeout)
        if not self._said.closed:
            with self._said as file:
                file.seek(0)
                self._words = file.read().decode(errors="replace").strip()[-_WORDS:]
        return code

    def last_words(self) -> str:
        return self._words


class LocalDevice:
    """This machine."""

    name = "local"

    def __init__(self, detail: str = "") -> None:
        if detail:
            raise UsageError(
                f"Device 'local' takes nothing after a colon, not {detail!r}; write 'local'."
            )

    def physical_cores(self) -> int:
        """Physical cores, or fewer where this process may use fewer (containers, taskset)."""
        cores = self.fingerprint().cores
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
        return min(cores, allowed)

    def fingerprint(self) -> Fingerprint:
        return local_fingerprint()

    def runtimes(self) -> Mapping[str, str | None]:
        real = {name: RUNTIMES.get(name)() for name in RUNTIMES if name != "fake"}
        return {
            name: None if runtime.gpu and not self.fingerprint().gpu else runtime.version()
            for name, runtime in real.items()
        }

    def start(self, archive: Path) -> LocalProcess:
        try:
            return LocalProcess([sys.executable, str(archive)], self._environment())
        except OSError as error:
            raise DeviceError(f"No agent could be started on {self.name}: {error}.") from error

    def put(self, path: Path) -> str:
        return str(path.resolve())

    def run(
        self, runtime: str, path: Path, precision: str, threads: int, batches: Sequence[Arrays]
    ) -> list[list[np.ndarray[Any, Any]]]:
        with tempfile.TemporaryDirectory() as place:
            inputs, outputs = Path(place) / "inputs.npz", Path(place) / "outputs.npz"
            pack(batches, inputs)
            request = {
                "runtime": runtime, "path": str(path.resolve()), "precision": precision,
                "threads": threads, "inputs": str(inputs), "outputs": str(outputs),
            }  # fmt: skip
            done = subprocess.run(
                # -P: a file of the user's working directory must not pass for a module.
                [sys.executable, "-P", "-m", "devices.runner"],
                input=json.dumps(request),
                capture_output=True,
                text=True,
                env=self._environment(),
                check=False,
            )
            if done.returncode:
                words = done.stderr.strip()[-_WORDS:] or f"it ended with code {done.returncode}"
                raise DeviceError(f"{runtime} on {self.name} could not run {path}: {words}")
            return [list(batch.values()) for batch in unpack(outputs)]

    def _environment(self) -> dict[str, str]:
        """The child's: it finds these packages wherever it is started from."""
        rooms = str(Path(devices.__path__[0]).parent)
        path = os.pathsep.join(filter(None, (rooms, os.environ.get("PYTHONPATH"))))
        return {**os.environ, "PYTHONPATH": path}

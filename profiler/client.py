"""The parent's end of an agent: ask, and block until it answers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from devices.device import Device
from devices.errors import AgentDied, DeviceError, Unreachable

_GRACE = 5.0  # seconds that an agent has to end by itself


class AgentClient:
    """A started agent; a context manager that ends it.

    The parent blocks on the pipe while the agent works: a parent that polls would take the core
    that is being measured.
    """

    def __init__(self, device: Device, archive: Path) -> None:
        self._name = device.name
        self._process = device.start(archive)

    def ask(self, do: str, *, patience: float = 300.0, **request: Any) -> dict[str, Any]:
        """Send one request, return its answer.

        Args:
            patience: seconds after which the agent is taken to hang, and is ended.

        Raises:
            DeviceError: the agent answered with an error.
            AgentDied: it died, or hung and was ended.
            Unreachable: the way to it was cut.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise DeviceError(f"The agent on {self._name} was started without pipes.")
        hung = threading.Event()
        timer = threading.Timer(patience, self._end_hung, [hung])
        timer.start()
        try:
            stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except OSError:
            line = b""
        finally:
            timer.cancel()
        if hung.is_set():
            raise AgentDied(
                f"The agent on {self._name} was ended: {do!r} took more than {patience:.0f} s. What was "
                "measured is kept; a smaller model or a shorter --length may do."
            )
        if not line:
            raise self._obituary(do)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise DeviceError(f"On {self._name}: {answer['error']}")
        return answer

    def _end_hung(self, hung: threading.Event) -> None:
        hung.set()
        self._process.kill()

    def _obituary(self, do: str) -> DeviceError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        if self._process.lost():
            return Unreachable(
                f"The way to {self._name} was cut during {do!r}: {self._process.last_words()}. What was "
                "measured is kept; run the same command again."
            )
        words = self._process.last_words() or "it said nothing, so perhaps memory ran out"
        return AgentDied(
            f"The agent on {self._name} died during {do!r} (exit code {self._process.poll()}): "
            f"{words}. What was measured is kept; run the same command again."
        )

    def __enter__(self) -> AgentClient:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if error is None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()  # the end of input ends it
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

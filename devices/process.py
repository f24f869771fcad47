"""A child process that talks through pipes, and whose last words are kept."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence

WORDS = 1000  # characters of a failed process' own words that a message repeats


class ChildProcess(subprocess.Popen[bytes]):
    """In a session of its own: Ctrl-C reaches the parent alone, which then ends it.

    Attributes:
        lost_code: the exit code that says that the way to the process was lost, if any does.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], lost_code: int | None = None
    ) -> None:
        self.lost_code = lost_code
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
                self._words = file.read().decode(errors="replace").strip()[-WORDS:]
        return code

    def last_words(self) -> str:
        return self._words

    def lost(self) -> bool:
        return self.lost_code is not None and self.poll() == self.lost_code

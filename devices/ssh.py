"""A machine that is reached over SSH, through the system's own client and its configuration.

Keys, jump hosts and known_hosts are therefore the user's; host keys are always verified. Nothing is asked
for, and nothing is installed there: files go into the user's cache. No name or path reaches a shell
unquoted.
"""

from __future__ import annotations

import atexit
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from devices.errors import DeviceError, Unreachable, UsageError
from devices.interpreter import InterpreterDevice
from devices.known import known_device
from devices.sending import NotSent, send

_DESTINATION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:%+\-\[\]]*")
_LOST = 255  # what OpenSSH's client ends with where it, not the command, failed
_NO_COMMAND = (126, 127)  # what shells end with where a command cannot be started
_ADVICE = {
    "could not resolve": "Check the name, or give it an entry in ~/.ssh/config.",
    "identification has changed": "Its host key is not the one that was known: make sure that it is the "
    "same machine before you remove the old key (ssh-keygen -R).",
    "host key": "Connect to it once by hand with ssh, and compare its host key.",
    "permission denied": "Check user and key: ssh has to let you in without asking.",
    "refused": "Check that its SSH server runs, and on which port.",
    "timed out": "Check that it is up and can be reached from here.",
}  # the first that holds


class SshDevice(InterpreterDevice):
    """``ssh:NAME``: a device that was added under that name, or a host as ssh knows it."""

    lost_code = _LOST

    def __init__(self, detail: str, known: Mapping[str, str] | None = None) -> None:
        known = known_device("ssh", detail) if known is None else known
        self.name = f"ssh:{detail}"
        self._host = known.get("host", detail)
        self._python = known.get("python", "python3")
        if not _DESTINATION.fullmatch(self._host):
            raise UsageError(
                f"{self._host!r} is no host for SSH; expected [USER@]HOST, or a name from ~/.ssh/config."
            )

    def put(self, path: Path) -> str:
        try:
            return send(path, self._command)
        except NotSent as error:
            raise self._failure(error.code, error.words) from error
        except DeviceError as error:
            raise DeviceError(f"{self.name} cannot take {path.name} in: {error}") from error

    def _command(self, *arguments: str) -> list[str]:
        return ["ssh", *_options(), "--", self._host, shlex.join([self._python, *arguments])]

    def _environment(self) -> Mapping[str, str]:
        return os.environ

    def _failure(self, code: int, words: str) -> DeviceError:
        if code == _LOST:
            advice = (text for sign, text in _ADVICE.items() if sign in words.lower())
            last = words.splitlines()[-1].strip(" .") if words else "the connection was cut"
            return Unreachable(
                f"{self.name} cannot be reached over SSH: {last}. {next(advice, '')}".strip()
            )
        if code in _NO_COMMAND:
            return DeviceError(
                f"{self.name} has no {self._python} to start; install Python there, or name one with "
                f"`cutonce devices add NAME --ssh {self._host} --python PATH`."
            )
        return super()._failure(code, words)


@cache
def _options() -> tuple[str, ...]:
    """One connection serves all commands of this process; it is given up where nothing is heard."""
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "ControlMaster": "auto",
        "ControlPersist": "60",
        "ControlPath": f"{_sockets()}/%C",
    }
    return ("-T", *(word for name, value in options.items() for word in ("-o", f"{name}={value}")))


def _sockets() -> Path:
    # A socket's path may have a hundred characters, which some systems' own places leave no room for.
    short = "/tmp" if Path("/tmp").is_dir() else None
    place = Path(tempfile.mkdtemp(prefix="cutonce-ssh-", dir=short))
    atexit.register(_close, place)
    return place


def _close(place: Path) -> None:
    """End the connections, whose sockets are in ``place``."""
    for socket in place.iterdir():
        subprocess.run(
            ["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "any"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    shutil.rmtree(place, ignore_errors=True)

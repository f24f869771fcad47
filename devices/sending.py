"""Send files to another machine, through a command that starts a Python there."""

from __future__ import annotations

import base64
import glob
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from devices import receive
from devices.errors import DeviceError
from devices.files import sha256

Start = Callable[..., list[str]]
"""The command of this machine that starts the other's Python with the arguments given."""


class NotSent(Exception):
    """The command ended too early: its exit code, and what it said."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(code, words)
        self.code, self.words = code, words


def with_siblings(path: Path) -> list[Path]:
    """A file and those that differ from it by their ending alone.

    Raises:
        DeviceError: it is missing.
    """
    files = sorted(path.parent.glob(f"{glob.escape(path.stem)}.*"))
    if path not in files:
        raise DeviceError(f"{path} is missing; export it again.")
    return files


def request_of(files: Sequence[Path]) -> dict[str, Any]:
    """What devices.receive is asked for: ``key``, by which the files are known there, and ``files``."""
    told = [
        {"name": file.name, "size": file.stat().st_size, "sha256": sha256(file)} for file in files
    ]
    key = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
    return {"key": key, "files": told}


def send(path: Path, start: Start) -> str:
    """Send a file and its siblings; what is there already is not sent again. Returns its place there.

    Raises:
        DeviceError: the file is missing here, or cannot be kept there.
        NotSent: the command failed.
    """
    files = with_siblings(path)
    request = request_of(files)
    program = base64.b64encode(Path(receive.__file__).read_bytes()).decode()
    process = subprocess.Popen(
        start("-c", f"import base64; exec(base64.b64decode('{program}'))"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        place = _talk(process, request, files)
    finally:
        process.kill()
        _, said = process.communicate()
    if place is None:
        raise NotSent(process.returncode, said.decode(errors="replace").strip())
    return f"{place}/{path.name}"


def _talk(
    process: subprocess.Popen[bytes], request: dict[str, Any], files: Sequence[Path]
) -> str | None:
    """Where the files lie, None where the other end is gone."""
    told, heard = process.stdin, process.stdout
    if told is None or heard is None:
        return None
    try:
        told.write(json.dumps(request).encode() + b"\n")
        told.flush()
        first = _hear(heard)
        if first is None:
            return None
        for file, entry, there in zip(files, request["files"], first["have"], strict=True):
            if there < entry["size"]:
                _copy(file, there, told)
        told.flush()
    except BrokenPipeError:
        pass  # it may have said why
    last = _hear(heard)
    return None if last is None else str(last["place"])


def _hear(heard: IO[bytes]) -> dict[str, Any] | None:
    line = heard.readline()
    if not line:
        return None
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError:
        said = line.decode(errors="replace").strip()
        raise DeviceError(f"it said {said!r}; its shell must print nothing of its own.") from None
    if "error" in answer:
        raise DeviceError(f"{answer['error']}.")
    return answer


def _copy(file: Path, start: int, sink: IO[bytes]) -> None:
    with file.open("rb") as source:
        source.seek(start)
        shutil.copyfileobj(source, sink, 2**20)

"""Take files in on another machine: this text is sent there whole, before anything else is there.

Standard input: a line of JSON {"key", "files": [{"name", "size", "sha256"}]}. Answer, a line: {"place",
"have"}, the directory and the bytes of each file that are there already, so that what was cut off goes
on. Standard input again: the bytes that are missing, file after file. Answer, a line: {"place"}; or
{"error"} in place of either.

Standard library only, and nothing that Python 3.7 could not read: an old one has to say so itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

OLDEST = (3, 10)
KEPT_BYTES = 4 * 2**30  # of files that were received before, beside which there is room for others
CHUNK = 2**20


def main() -> None:
    try:
        if sys.version_info < OLDEST:
            here = ".".join(map(str, sys.version_info[:2]))
            raise OSError(
                f"its Python is {here}, and {OLDEST[0]}.{OLDEST[1]} is the oldest that serves"
            )
        receive(sys.stdin.buffer, say)
    except OSError as error:
        say({"error": str(error)})


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def receive(source: BinaryIO, say: Callable[[dict[str, Any]], None]) -> None:
    request = json.loads(source.readline().decode())
    place = cache() / request["key"]
    place.mkdir(parents=True, exist_ok=True)
    os.utime(place)
    files = [(place / file["name"], file["size"], file["sha256"]) for file in request["files"]]
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # what two send at once, the first of them sends
        make_room(place, sum(size for _, size, _ in files))
        say({"place": str(place), "have": [held(path) for path, _, _ in files]})
        if all(take(source, *file) for file in files):
            say({"place": str(place)})


def cache() -> Path:
    """Where received files lie: in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cutonce" / "files"


def held(path: Path) -> int:
    """The bytes of a file that are there."""
    for known in (path, unfinished(path)):
        if known.exists():
            return known.stat().st_size
    return 0


def unfinished(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def take(source: BinaryIO, path: Path, size: int, sha256: str) -> bool:
    """Take in what is missing of a file. False where it ends too early; what came is kept."""
    if path.exists():
        return True
    part, left = unfinished(path), size - held(path)
    with part.open("ab") as file:
        while left > 0:
            data = source.read(min(CHUNK, left))
            if not data:
                return False
            file.write(data)
            left -= len(data)
    if digest(part) != sha256:
        part.unlink()
        raise OSError(f"{path.name} arrived damaged")
    part.rename(path)
    return True


def digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        for data in iter(lambda: file.read(CHUNK), b""):
            found.update(data)
    return found.hexdigest()


def make_room(place: Path, needed: int) -> None:
    """Remove what was not used for longest, until there is room beside ``place``."""
    others = [other for other in place.parent.iterdir() if other.is_dir() and other != place]
    others.sort(key=lambda other: other.stat().st_mtime)
    kept = sum(map(size_of, others))
    while others and (kept + needed > KEPT_BYTES or shutil.disk_usage(place).free < 2 * needed):
        oldest = others.pop(0)
        kept -= size_of(oldest)
        shutil.rmtree(oldest, ignore_errors=True)


def size_of(place: Path) -> int:
    return sum(file.stat().st_size for file in place.iterdir())


if __name__ == "__main__":
    main()

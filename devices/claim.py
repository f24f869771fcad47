"""A machine for one campaign at a time: two that measure at once measure each other.

Travels inside the agent, so it imports the standard library alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO


def claim(owner: str) -> tuple[IO[str] | None, str | None]:
    """Claim this machine, among the processes of this user.

    Returns:
        the file that holds the claim while it is open, and None; or None, and who holds it. Where the
        system has no such locks, or ``owner`` is the holder, neither.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None, None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cutonce"
    cache.mkdir(parents=True, exist_ok=True)
    file = (cache / "measuring.lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with file:
            file.seek(0)
            holder = file.read() or "another process"
        return None, None if holder == owner else holder
    file.truncate(0)
    file.write(owner)
    file.flush()
    return file, None

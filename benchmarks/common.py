"""What the benchmarks share: the machine's name, a timed command, verdicts."""

from __future__ import annotations

import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

INTERVAL = 1.0  # seconds between two looks at the memory

Row = tuple[str, str, bool]
"""What was to reach, what came out, whether it is met."""


@dataclass(frozen=True)
class Timed:
    """A command that ended.

    Attributes:
        seconds: it took. peak: the largest memory of its process tree in bytes (proportional set size).
        code: it ended with. result: what it printed as JSON; None where it failed.
        phases: what it said that it did, in order, and the seconds until the next.
    """

    seconds: float
    peak: float
    code: int
    result: Any
    phases: list[tuple[str, float]]


def drawn_seed(place: Path) -> int:
    """The seed that the first run in the directory ``place`` drew."""
    place.mkdir(parents=True, exist_ok=True)
    file = place / "seed"
    if not file.exists():
        file.write_text(str(secrets.randbelow(2**16)))
    return int(file.read_text())


def machine() -> str:
    return f"machine: {platform.machine()}, {os.cpu_count()} CPUs, {platform.platform()}"


def cutonce(*arguments: str) -> Timed:
    """Run a `cutonce` command with --json in a process of its own."""
    command = [sys.executable, "-m", "cutonce.cli", *arguments, "--json"]
    started = time.monotonic()
    said: list[tuple[str, float]] = []
    with tempfile.TemporaryFile("w+") as answer:
        with subprocess.Popen(command, stdout=answer, stderr=subprocess.PIPE, text=True) as child:
            follower = threading.Thread(target=follow, args=(child.stderr, said), daemon=True)
            follower.start()
            memory = PeakMemory(child.pid)
            while child.poll() is None:
                memory.look()
                time.sleep(INTERVAL)
            seconds = time.monotonic() - started
            follower.join()
        answer.seek(0)
        text = answer.read()
    ends = [moment for _, moment in said[1:]] + [started + seconds]
    phases = [(title, end - began) for (title, began), end in zip(said, ends, strict=True)]
    return Timed(seconds, memory.peak, child.returncode, json.loads(text) if text else None, phases)


def follow(talk: Iterable[str], said: list[tuple[str, float]]) -> None:
    """Pass on what a command says, and note when it begins with something."""
    for line in talk:
        print(line, end="", file=sys.stderr, flush=True)
        if line.endswith("…\n"):
            said.append((line.removesuffix(" …\n"), time.monotonic()))


class PeakMemory:
    """Of a process tree, in bytes.

    The proportional set size is only asked for where more than ever is resident: the kernel holds up the
    processes, which may be measuring, while it counts.
    """

    def __init__(self, root: int) -> None:
        self.peak, self._root, self._resident = 0.0, root, 0

    def look(self) -> None:
        with suppress(psutil.Error):
            root = psutil.Process(self._root)
            tree = [root, *root.children(recursive=True)]
            resident = sum(process.memory_info().rss for process in tree)
            if resident > self._resident:
                self.peak = max(self.peak, sum(p.memory_full_info().pss for p in tree))
                self._resident = resident


def verdict(rows: Sequence[Row], path: Path | None, **more: Any) -> int:
    """Print PASS or MISS for every row, write them to ``path`` with ``more``; the exit code."""
    for name, value, met in rows:
        print(f"{'PASS' if met else 'MISS'}  {name}: {value}", flush=True)
    if path:
        found = [{"target": name, "value": value, "met": bool(met)} for name, value, met in rows]
        path.write_text(json.dumps({"targets": found, **more}, indent=1))
    return 0 if all(met for _, _, met in rows) else 3

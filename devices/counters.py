"""What the machine says of itself while something is measured. Linux; elsewhere the values are None.

Travels inside the agent, so it imports the standard library alone.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_BUSY = ("user", "nice", "system", "irq", "softirq")
_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def counters() -> dict[str, float | None]:
    """Totals since the machine started, of which only differences mean something.

    ``busy``, ``steal``: processor seconds of all processes, and those the hypervisor gave to others.
    ``throttled``: how often this control group ran into its quota. ``pressure``: seconds in which
    some task waited for a processor (PSI). ``mhz``: the mean clock of the processors just now.
    """
    stat = _stat()
    return {
        "busy": sum(stat[name] for name in _BUSY) if stat else None,
        "steal": stat.get("steal"),
        "throttled": _throttled(),
        "pressure": _pressure(),
        "mhz": _mhz(),
    }


def peak_bytes() -> int | None:
    """The most memory that this process has had resident since its start."""
    found = re.search(r"VmHWM:\s*(\d+) kB", read(Path("/proc/self/status")) or "")
    return 1024 * int(found[1]) if found else None


def read(path: Path) -> str | None:
    """The text of a file of /proc or /sys, None where it is not there or not for us."""
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _stat() -> dict[str, float]:
    words = (read(Path("/proc/stat")) or "").split("\n")[0].split()[1:]
    tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    return {name: int(word) / tick for name, word in zip(_COLUMNS, words, strict=False)}


def _throttled() -> float | None:
    for place in ("/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu/cpu.stat"):
        found = re.search(r"nr_throttled (\d+)", read(Path(place)) or "")
        if found:
            return float(found[1])
    return None


def _pressure() -> float | None:
    found = re.search(r"some .*total=(\d+)", read(Path("/proc/pressure/cpu")) or "")
    return int(found[1]) / 1e6 if found else None


def _mhz() -> float | None:
    files = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    clocks = [int(text) / 1000 for text in map(read, files) if text and text.isdigit()]
    if not clocks:
        clocks = [float(mhz) for mhz in re.findall(r"cpu MHz\s*: ([\d.]+)", _cpuinfo())]
    return sum(clocks) / len(clocks) if clocks else None


def _cpuinfo() -> str:
    return read(Path("/proc/cpuinfo")) or ""

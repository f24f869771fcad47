"""What makes a machine noisy, and what to do about it. Looks, and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from devices.counters import counters, read
from devices.fingerprint import Fingerprint
from profiler.gate import LOAD, STEAL

_CPU = Path("/sys/devices/system/cpu")
_LEAST_MEMORY = 0.1  # share of the memory that should be free


@dataclass(frozen=True)
class Finding:
    """One property of the machine.

    Attributes:
        noisy: whether it disturbs measurements. advice: what to do then, empty where nothing is.
    """

    name: str
    state: str
    noisy: bool
    advice: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def find_noise(
    fingerprint: Fingerprint, *, seconds: float = 2.0, pause: Callable[[float], None] = time.sleep
) -> list[Finding]:
    """Everything known to disturb measurements on this machine, noisy or not.

    Args:
        seconds: to watch the load for.
    """
    return [
        _governor(fingerprint),
        _turbo(),
        _threads(),
        _quota(fingerprint.logical),
        *_watched(fingerprint, seconds, pause),
        _memory(),
    ]


def _governor(fingerprint: Fingerprint) -> Finding:
    policy = fingerprint.clock_policy
    known = policy not in ("performance", "unknown")
    advice = "Set the performance governor: sudo cpupower frequency-set -g performance."
    return Finding("clock policy", policy, known, advice if known else "")


def _turbo() -> Finding:
    off, boost = read(_CPU / "intel_pstate/no_turbo"), read(_CPU / "cpufreq/boost")
    if off is None and boost is None:
        return Finding("turbo", "unknown: the machine does not tell", False)
    on = off == "0" or boost == "1"
    path = _CPU / ("cpufreq/boost" if off is None else "intel_pstate/no_turbo")
    advice = (
        f"The clock moves with heat and neighbours; echo {int(off is not None)} | sudo tee {path}."
    )
    return Finding("turbo", "on" if on else "off", on, advice if on else "")


def _threads() -> Finding:
    active = read(_CPU / "smt/active")
    state = {"1": "on", "0": "off"}.get(active or "", "unknown: the machine does not tell")
    advice = "Measure with no more threads than physical cores, which is the default of a target."
    return Finding("hardware threads (SMT)", state, False, advice if active == "1" else "")


def _quota(processors: int) -> Finding:
    words = (read(Path("/sys/fs/cgroup/cpu.max")) or "max").split()
    if words[0] == "max" or len(words) < 2:
        return Finding("processor quota", "none", False)
    allowed = int(words[0]) / int(words[1])
    tight = allowed < processors
    advice = (
        f"Raise the container's quota to {processors} processors, or measure with fewer threads."
    )
    return Finding(
        "processor quota", f"{allowed:g} of {processors}", tight, advice if tight else ""
    )


def _watched(
    fingerprint: Fingerprint, seconds: float, pause: Callable[[float], None]
) -> list[Finding]:
    """What shows only over a while: load, steal, throttling."""
    processes = [process for process in psutil.process_iter() if _percent(process) is not None]
    before, began = counters(), time.monotonic()
    pause(seconds)
    after, elapsed = counters(), max(time.monotonic() - began, 1e-9)

    def rate(name: str) -> float | None:
        first, last = before[name], after[name]
        return None if first is None or last is None else (last - first) / elapsed

    busy, steal, throttled = rate("busy"), rate("steal"), rate("throttled")
    loaded, stolen = (busy or 0.0) > LOAD, (steal or 0.0) > STEAL
    host = "a virtual machine" if fingerprint.hypervisor else "no hypervisor"
    return [
        Finding(
            "other load",
            "unknown: the machine does not tell" if busy is None else f"{busy:.2f} processors",
            loaded,
            f"Stop what runs beside: {_busiest(processes)}." if loaded else "",
        ),
        Finding(
            "hypervisor",
            f"{host}, {steal or 0.0:.3f} processors stolen",
            stolen,
            "Neighbours take processor time: measure at a quieter hour, or on a machine of your own."
            if stolen
            else "",
        ),
        Finding(
            "throttling",
            f"{throttled or 0.0:.1f} times a second",
            bool(throttled),
            "The container ran into its quota just now: raise it." if throttled else "",
        ),
    ]


def _percent(process: psutil.Process) -> float | None:
    try:
        return float(process.cpu_percent())
    except psutil.Error:
        return None


def _busiest(processes: list[psutil.Process]) -> str:
    """The three processes that used most processor time since they were last looked at."""
    shares = sorted(((_percent(p) or 0.0, p) for p in processes), key=lambda pair: -pair[0])
    names = []
    for share, process in shares[:3]:
        try:
            if share > 1:
                names.append(f"{process.name()} ({process.pid}, {share:.0f} %)")
        except psutil.Error:
            continue
    return ", ".join(names) or "it ended already, or belongs to another container"


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    share = memory.available / memory.total
    tight = share < _LEAST_MEMORY
    advice = "Free some memory: what is swapped out is measured as slow." if tight else ""
    return Finding("free memory", f"{share:.0%} of {memory.total / 2**30:.0f} GB", tight, advice)

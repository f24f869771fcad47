"""What the machine's own meters say of the energy it used. Travels inside the agent.

The processor packages through powercap (RAPL, Linux, often for root alone), an NVIDIA GPU through NVML.
What else ran meanwhile is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from devices.counters import read
from devices.gpu import gpu_millijoules

POWERCAP = Path("/sys/class/powercap")

Meters = Mapping[str, tuple[int, int]]
"""Per meter its state in microjoules, and where it starts again from 0; 0 where it never does."""


def meters(gpu: bool) -> Meters:
    """Those of the GPU, or of the processors; empty where none can be read."""
    if gpu:
        spent = gpu_millijoules()
        return {} if spent is None else {"gpu": (1000 * spent, 0)}
    found = {}
    for zone in sorted(POWERCAP.glob("intel-rapl:*")):
        # Below a package lie its parts, which are in its sum already.
        if not (read(zone / "name") or "").startswith("package"):
            continue
        state, most = (read(zone / name) for name in ("energy_uj", "max_energy_range_uj"))
        if state and state.isdigit():
            found[zone.name] = int(state), int(most or 0)
    return found


def microjoules(before: Meters, after: Meters) -> float | None:
    """What was spent between two looks; None where no meter can be read."""
    both = before.keys() & after.keys()
    if not both:
        return None
    rises = ((after[name][0] - before[name][0], after[name][1]) for name in both)
    return float(sum(rise % most if rise < 0 and most else rise for rise, most in rises))

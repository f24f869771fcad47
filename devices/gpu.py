"""What the first NVIDIA GPU says of itself, through NVML. None where there is none, or no NVML.

Travels inside the agent, so it imports the standard library alone, and NVML's bindings inside the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Everything that lowers the clock but idleness and the user's own settings: power cap, hardware and
# thermal slowdown, power brake (nvmlClocksEventReasons of nvml.h).
_SLOWING = 0x04 | 0x08 | 0x20 | 0x40 | 0x80


def gpu_millijoules() -> int | None:
    """What it has used since its driver was loaded."""
    used = _asked(lambda nvml, gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu))
    return None if used is None else int(used)


def gpu_counters() -> dict[str, float | None]:
    """``gpu_mhz``: the clock of its processors just now. ``gpu_slowed``: 1 where heat or power lower
    it."""
    found = _asked(
        lambda nvml, gpu: (
            nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
            nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu),
        )
    )
    if found is None:
        return {"gpu_mhz": None, "gpu_slowed": None}
    clock, reasons = found
    return {"gpu_mhz": float(clock), "gpu_slowed": float(bool(reasons & _SLOWING))}


def _asked(question: Callable[[Any, Any], Any]) -> Any:
    """What NVML answers for the first GPU; None without a driver, a GPU, or one that tells."""
    try:
        import pynvml  # type: ignore[import-not-found]
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        try:
            return question(pynvml, pynvml.nvmlDeviceGetHandleByIndex(0))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None

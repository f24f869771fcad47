"""What the first NVIDIA GPU says of itself, through NVML. None where there is none, or no NVML.

Travels inside the agent, so it imports the standard library alone, and NVML's bindings inside the call.
"""

from __future__ import annotations

# Everything that lowers the clock but idleness and the user's own settings: power cap, hardware and
# thermal slowdown, power brake (nvmlClocksEventReasons of nvml.h).
_SLOWING = 0x04 | 0x08 | 0x20 | 0x40 | 0x80


def gpu_counters() -> dict[str, float | None]:
    """``gpu_mhz``: the clock of its processors just now. ``gpu_slowed``: 1 where heat or power lower
    it."""
    try:
        import pynvml  # type: ignore[import-not-found]
    except ImportError:
        return {"gpu_mhz": None, "gpu_slowed": None}
    try:
        pynvml.nvmlInit()
        try:
            gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
            clock = pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM)
            reasons = pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu)
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:  # no driver, no GPU, or one that does not tell
        return {"gpu_mhz": None, "gpu_slowed": None}
    return {"gpu_mhz": float(clock), "gpu_slowed": float(bool(reasons & _SLOWING))}

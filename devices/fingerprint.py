"""Who a device is: what must be equal before two measurements may be compared."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from devices.packages import installed_version

# The instruction sets that decide which kernels a runtime picks.
_FLAGS = {
    "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve",
}  # fmt: skip
_PACKAGES = ("torch", "onnxruntime", "openvino", "tensorrt")


@dataclass(frozen=True)
class Fingerprint:
    """A device's identity.

    Attributes:
        cpu: model name. flags: instruction sets that matter, sorted.
        cores: physical; logical: hardware threads.
        caches: (level, bytes) pairs. memory_bytes: of the whole machine.
        clock_policy: the frequency governor, or "unknown" where the machine does not tell.
        runtimes: (package, version) pairs of what is installed.
    """

    cpu: str
    flags: tuple[str, ...]
    cores: int
    logical: int
    caches: tuple[tuple[str, int], ...]
    memory_bytes: int
    gpu: str | None
    os: str
    hypervisor: bool
    clock_policy: str
    runtimes: tuple[tuple[str, str], ...]

    @cached_property
    def id(self) -> str:
        """12 hex digits, equal where and only where everything is."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def differences(self, other: Fingerprint) -> list[str]:
        """What differs, in words: ``cpu: this one, not that one``."""
        mine, theirs = asdict(self), asdict(other)
        return [
            f"{key}: {mine[key]}, not {theirs[key]}" for key in mine if mine[key] != theirs[key]
        ]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Fingerprint:
        return cls(
            **{
                **data,
                "flags": tuple(data["flags"]),
                "caches": tuple((level, size) for level, size in data["caches"]),
                "runtimes": tuple((name, number) for name, number in data["runtimes"]),
            }
        )


@cache
def local_fingerprint() -> Fingerprint:
    """This machine, from /proc and /sys where they are, else from what Python knows."""
    cpu = _cpuinfo()
    flags = set((cpu.get("flags") or cpu.get("Features") or "").split())
    logical = os.cpu_count() or 1
    board = _read(Path("/sys/firmware/devicetree/base/model")) or ""  # Arm's cores have no names
    return Fingerprint(
        cpu=cpu.get("model name")
        or board.strip("\0")
        or platform.processor()
        or platform.machine(),
        flags=tuple(sorted(flags & _FLAGS)),
        cores=_cores() or logical,
        logical=logical,
        caches=_caches(),
        memory_bytes=_memory_bytes(),
        gpu=_gpu(),
        os=f"{platform.system()} {platform.release()}",
        hypervisor="hypervisor" in flags,
        clock_policy=_read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
        or "unknown",
        runtimes=tuple(
            (name, found) for name in _PACKAGES if (found := installed_version(name)) is not None
        ),
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _cores() -> int:
    """Physical ones: each is named by the hardware threads that share it. 0 where none is."""
    cpus = sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/core_cpus_list"))
    return len({_read(cpu) for cpu in cpus} - {None})


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):  # Windows
        import psutil

        return int(psutil.virtual_memory().total)


def _cpuinfo() -> dict[str, str]:
    first = (_read(Path("/proc/cpuinfo")) or "").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _caches() -> tuple[tuple[str, int], ...]:
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        if level and kind != "Instruction" and size and size.endswith("K"):
            found[f"L{level}"] = 1024 * int(size[:-1])
    return tuple(found.items())


def _gpu() -> str | None:
    models = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    for line in (_read(models[0]) or "").splitlines() if models else ():
        key, _, value = line.partition(":")
        if key.strip() == "Model":
            return value.strip()
    return None

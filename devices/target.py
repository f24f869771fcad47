"""Target: device × runtime × precision × threads. Measurements of two targets never mix."""

from __future__ import annotations

from dataclasses import dataclass

from devices.device import DEVICES, open_device
from devices.errors import UnknownName, UsageError
from devices.runtimes import PRECISIONS, RUNTIMES


@dataclass(frozen=True, order=True)
class Target:
    """Where and how a model runs; written ``DEVICE/RUNTIME/PRECISION@THREADS``."""

    device: str
    runtime: str
    precision: str
    threads: int

    def __str__(self) -> str:
        return f"{self.device}/{self.runtime}/{self.precision}@{self.threads}"

    @property
    def slug(self) -> str:
        """This target as a file name."""
        return str(self).replace("/", "-").replace(":", "-").replace("@", "-t")

    @property
    def gpu(self) -> bool:
        """Whether a GPU does the work."""
        return bool(RUNTIMES.get(self.runtime).gpu)

    @property
    def virtual(self) -> bool:
        """Whether its times are computed rather than taken."""
        return self.runtime == "fake"

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``DEVICE/RUNTIME/PRECISION[@THREADS]``; no ``@`` means the physical cores.

        Raises:
            UnknownName: a device, runtime or precision that is not known, with the nearest.
            UsageError: a text of another shape.
        """
        spec, at, count = text.partition("@")
        parts = spec.split("/")
        if len(parts) != 3 or (at and not count.isdecimal()) or (at and int(count) < 1):
            raise UsageError(
                f"Target {text!r} is not DEVICE/RUNTIME/PRECISION[@THREADS], "
                "for example local/onnxruntime/fp32@2."
            )
        device, runtime, precision = parts
        if device.partition(":")[0] not in DEVICES:
            raise UnknownName("device", device, DEVICES)
        if runtime not in RUNTIMES:
            raise UnknownName("runtime", runtime, RUNTIMES)
        if precision not in PRECISIONS[runtime]:
            raise UnknownName(f"precision of {runtime}", precision, PRECISIONS[runtime])
        if (runtime == "fake") != (device.partition(":")[0] == "fake"):
            raise UsageError(
                f"Target {text!r}: the fake runtime and the fake device go together only."
            )
        if at:
            threads = int(count)
        else:  # a GPU's work is not the threads'
            threads = 1 if RUNTIMES.get(runtime).gpu else open_device(device).physical_cores()
        return cls(device, runtime, precision, threads)

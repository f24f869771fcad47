"""Target: device × runtime × precision × threads × streams. Measurements of two targets never mix."""

from __future__ import annotations

import re
from dataclasses import dataclass

from devices.device import DEVICES, open_device
from devices.errors import UnknownName, UsageError
from devices.runtimes import RUNTIMES


@dataclass(frozen=True, order=True)
class Target:
    """Where and how a model runs; written ``DEVICE/RUNTIME/PRECISION@THREADS`` or ``…@THREADSxSTREAMS``.

    Attributes:
        threads: of one run.
        streams: copies of the model that run side by side. What a run takes is then the time that passes
            per run of any of them, 1000 over which is the throughput in runs a second.
    """

    device: str
    runtime: str
    precision: str
    threads: int
    streams: int = 1

    def __str__(self) -> str:
        streams = "" if self.streams == 1 else f"x{self.streams}"
        return f"{self.device}/{self.runtime}/{self.precision}@{self.threads}{streams}"

    @property
    def slug(self) -> str:
        """This target as a file name."""
        return slug(str(self))

    @property
    def gpu(self) -> bool:
        """Whether a GPU does the work."""
        return bool(RUNTIMES.get(self.runtime).gpu)

    @property
    def emulated(self) -> bool:
        """Whether its times are those of an emulator."""
        return self.device.partition(":")[0] == "qemu"

    @property
    def virtual(self) -> bool:
        """Whether its times are computed rather than taken."""
        return self.runtime == "fake"

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``DEVICE/RUNTIME/PRECISION[@THREADS[xSTREAMS]]``; no ``@`` means the physical cores.

        Raises:
            UnknownName: a device, runtime or precision that is not known, with the nearest.
            UsageError: a text of another shape.
        """
        spec, at, count = text.partition("@")
        parts, counts = spec.split("/"), re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", count)
        if len(parts) != 3 or (at and not counts):
            raise UsageError(
                f"Target {text!r} is not DEVICE/RUNTIME/PRECISION[@THREADS[xSTREAMS]], "
                "for example local/onnxruntime/fp32@2."
            )
        device, runtime, precision = parts
        if device.partition(":")[0] not in DEVICES:
            raise UnknownName("device", device, DEVICES)
        if runtime not in RUNTIMES:
            raise UnknownName("runtime", runtime, RUNTIMES)
        loads = RUNTIMES.get(runtime)
        if precision not in loads.precisions:
            raise UnknownName(f"precision of {runtime}", precision, loads.precisions)
        kind = device.partition(":")[0]
        if (runtime == "fake") != (kind == "fake") and kind != "fleet":
            raise UsageError(
                f"Target {text!r}: the fake runtime and the fake device go together only."
            )
        if counts is None:  # a GPU's work is not the threads'
            threads, streams = 1 if loads.gpu else open_device(device).physical_cores(), 1
        else:
            threads, streams = int(counts[1]), int(counts[2] or 1)
        if loads.gpu and streams > 1:
            raise UsageError(
                f"Target {text!r}: streams are of a CPU; a GPU takes more at once in a larger --batch."
            )
        return cls(device, runtime, precision, threads, streams)


def slug(text: str) -> str:
    """The text of a target as a file name."""
    return text.replace("/", "-").replace(":", "-").replace("@", "-t")

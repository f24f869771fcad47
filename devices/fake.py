"""A device with exact time: real answers from onnxruntime, milliseconds from an analytic law."""

from __future__ import annotations

from collections.abc import Mapping

from devices.errors import UsageError
from devices.fingerprint import Fingerprint
from devices.local import LocalDevice
from devices.packages import installed_version
from devices.runtimes.fake_runtime import SEED_VARIABLE


class FakeDevice(LocalDevice):
    """``fake`` or ``fake:SEED``; each seed is another machine with its own physics."""

    def __init__(self, detail: str = "") -> None:
        if detail and not detail.isdecimal():
            raise UsageError(
                f"Device 'fake:{detail}' is not fake:SEED with a whole number, as in fake:7."
            )
        super().__init__()
        self.seed = int(detail or 0)
        self.name = f"fake:{self.seed}" if detail else "fake"

    def physical_cores(self) -> int:
        return 2

    def fingerprint(self) -> Fingerprint:
        return Fingerprint(
            cpu=f"fake:{self.seed}", flags=(), cores=2, logical=2, caches=(), memory_bytes=2**33,
            gpu=None, os="none", hypervisor=False, clock_policy="virtual",
            runtimes=(("fake", "1"),),
        )  # fmt: skip

    def boot(self) -> str | None:
        return None

    def runtimes(self) -> Mapping[str, str | None]:
        return {"fake": installed_version("onnxruntime")}

    def _environment(self) -> Mapping[str, str]:
        return {**super()._environment(), SEED_VARIABLE: str(self.seed)}

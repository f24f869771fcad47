"""What NVML says, with NVML's bindings played by a stand-in: this must hold without a GPU too."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from devices.device import open_device
from devices.energy import meters
from devices.errors import DeviceError
from devices.gpu import gpu_counters
from devices.runtimes import RUNTIMES
from devices.target import Target


class NVMLError(Exception):
    pass


def bindings(reasons: int, fails: str = "") -> Any:
    def answer(name: str, value: Any) -> Any:
        def call(*_: Any) -> Any:
            if name == fails:
                raise NVMLError(name)
            return value

        return call

    calls = {
        "nvmlInit": None, "nvmlShutdown": None, "nvmlDeviceGetHandleByIndex": object(),
        "nvmlDeviceGetClockInfo": 1980, "nvmlDeviceGetCurrentClocksEventReasons": reasons,
        "nvmlDeviceGetTotalEnergyConsumption": 2500,
    }  # fmt: skip
    return SimpleNamespace(
        NVML_CLOCK_SM=1, NVMLError=NVMLError, **{n: answer(n, value) for n, value in calls.items()}
    )


@pytest.mark.parametrize(
    ("reasons", "slowed"), [(0x0, 0.0), (0x1, 0.0), (0x2, 0.0), (0x4, 1.0), (0x40, 1.0)]
)
def test_heat_and_power_slow_it_idleness_and_settings_do_not(
    monkeypatch: pytest.MonkeyPatch, reasons: int, slowed: float
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", bindings(reasons))
    assert gpu_counters() == {"gpu_mhz": 1980.0, "gpu_slowed": slowed}


def test_its_energy_is_a_meter_in_microjoules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", bindings(0))
    assert meters(gpu=True) == {"gpu": (2_500_000, 0)}
    silent = bindings(0, fails="nvmlDeviceGetTotalEnergyConsumption")
    monkeypatch.setitem(sys.modules, "pynvml", silent)
    assert meters(gpu=True) == {}


@pytest.mark.parametrize("fails", ["nvmlInit", "nvmlDeviceGetHandleByIndex"])
def test_without_a_gpu_it_says_nothing(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", bindings(0, fails))
    assert gpu_counters() == {"gpu_mhz": None, "gpu_slowed": None}
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_counters() == {"gpu_mhz": None, "gpu_slowed": None}


def test_a_target_on_a_gpu_needs_no_threads() -> None:
    target = Target.parse("local/torch-cuda/fp16")
    assert target.gpu
    assert str(target) == "local/torch-cuda/fp16@1"
    assert not Target.parse("local/torch/fp32@1").gpu


@pytest.mark.skipif(open_device("local").fingerprint().gpu is not None, reason="there is a GPU")
def test_without_a_gpu_one_sentence_says_so(tmp_path: Any) -> None:
    assert open_device("local").runtimes()["torch-cuda"] is None
    with pytest.raises(DeviceError, match="sees no CUDA GPU; install"):
        RUNTIMES.get("torch-cuda")().load(tmp_path / "model.pt2", "fp16", 1)

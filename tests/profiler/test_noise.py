"""What is found on machines of all kinds; nothing is waited for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from devices.device import open_device
from devices.fingerprint import Fingerprint
from profiler import noise
from profiler.noise import Finding, find_noise

CALM = {"busy": 0.0, "steal": 0.0, "throttled": 0.0, "pressure": 0.0, "mhz": None}
Look = Callable[..., dict[str, Finding]]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Look:
    """The findings of a machine with these files and counters, after one second."""

    def run(
        files: dict[str, str] | None = None,
        after: dict[str, float | None] | None = None,
        machine: Fingerprint | None = None,
    ) -> dict[str, Finding]:
        answers = iter([CALM, {**CALM, **(after or {})}])
        clock = iter([0.0, 1.0])
        monkeypatch.setattr(noise, "counters", lambda: next(answers))
        monkeypatch.setattr(noise, "read", lambda path: (files or {}).get(str(path)))
        monkeypatch.setattr(noise.time, "monotonic", lambda: next(clock))
        machine = machine or open_device("local").fingerprint()
        found = find_noise(machine, seconds=1.0, pause=lambda _seconds: None)
        return {finding.name: finding for finding in found}

    return run


def test_nothing_to_mend(look: Look) -> None:
    machine = replace(open_device("local").fingerprint(), clock_policy="performance")
    found = look(machine=machine)
    assert not any(finding.noisy for finding in found.values() if finding.name != "free memory")


@pytest.mark.parametrize(
    ("files", "after", "name", "advice"),
    [
        ({"/sys/devices/system/cpu/cpufreq/boost": "1"}, {}, "turbo", "echo 0"),
        ({"/sys/devices/system/cpu/intel_pstate/no_turbo": "0"}, {}, "turbo", "echo 1"),
        ({"/sys/fs/cgroup/cpu.max": "50000 100000"}, {}, "processor quota", "quota"),
        ({}, {"busy": 0.5}, "other load", "Stop what runs beside"),
        ({}, {"steal": 0.1}, "hypervisor", "quieter hour"),
        ({}, {"throttled": 3.0}, "throttling", "raise it"),
    ],
)
def test_each_disturbance_has_its_advice(
    look: Look, files: dict[str, str], after: dict[str, float], name: str, advice: str
) -> None:
    finding = look(files, after)[name]
    assert finding.noisy
    assert advice in finding.advice


def test_a_slow_clock_policy(look: Look) -> None:
    machine = replace(open_device("local").fingerprint(), clock_policy="powersave")
    finding = look(machine=machine)["clock policy"]
    assert (finding.noisy, finding.state) == (True, "powersave")
    assert "performance" in finding.advice


def test_it_only_looks(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_text", None)
    assert look()

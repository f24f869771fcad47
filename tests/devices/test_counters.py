from __future__ import annotations

import sys
from pathlib import Path

import pytest

from devices import counters


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_this_machine_tells() -> None:
    first, second = counters.counters(), counters.counters()
    for name in ("busy", "steal"):
        assert first[name] is not None
        assert second[name] >= first[name]  # type: ignore[operator]


def test_a_machine_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "read", lambda _path: None)
    assert set(counters.counters().values()) == {None}


def test_the_kernel_s_own_text(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "/proc/stat": "cpu  100 20 30 900 5 6 4 50 0 0\ncpu0 1 1 1 1",
        "/sys/fs/cgroup/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 7\n",
        "/proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull total=1",
        "/proc/cpuinfo": "cpu MHz\t\t: 2000.0\ncpu MHz\t\t: 3000.0",
    }
    monkeypatch.setattr(counters, "read", lambda path: texts.get(str(path)))
    monkeypatch.setattr(counters.os, "sysconf", lambda _name: 100)
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    assert counters.counters() == {
        "busy": 1.6, "steal": 0.5, "throttled": 7.0, "pressure": 2.5, "mhz": 2500.0,
    }  # fmt: skip

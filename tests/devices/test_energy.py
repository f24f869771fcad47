"""The machine's energy meters, from a tree of files as Linux has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices import energy
from devices.energy import meters, microjoules


@pytest.fixture
def zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``zone(name, what, uj)`` writes one zone of powercap."""
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)

    def write(name: str, what: str, uj: int | None, most: int = 1000) -> None:
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        (place / "name").write_text(f"{what}\n")
        (place / "max_energy_range_uj").write_text(f"{most}\n")
        if uj is not None:
            (place / "energy_uj").write_text(f"{uj}\n")

    return write


def test_packages_add_up_and_their_parts_do_not(zone) -> None:
    zone("intel-rapl:0", "package-0", 100)
    zone("intel-rapl:1", "package-1", 990)
    zone("intel-rapl:0:0", "core", 50)
    zone("intel-rapl:2", "psys", 7)
    before = meters(gpu=False)
    zone("intel-rapl:0", "package-0", 130)
    zone("intel-rapl:1", "package-1", 20)  # it started again from 0
    zone("intel-rapl:0:0", "core", 70)
    assert microjoules(before, meters(gpu=False)) == 30 + 30


def test_no_meter_is_no_energy(zone) -> None:
    zone("intel-rapl:0", "package-0", None)  # there, but not for us
    assert meters(gpu=False) == {}
    assert microjoules({}, {}) is None

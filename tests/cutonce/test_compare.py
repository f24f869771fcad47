"""Comparing two results of measure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cutonce
from cutonce.cli import main
from deploy.architecture import uniform
from deploy.workload import Workload
from devices.device import open_device
from devices.errors import DataError, NotTrustworthy, UsageError
from devices.target import Target
from profiler.measurement import Measurement
from profiler.visit import Visit

MACHINE = open_device("fake").fingerprint()


def result(
    path: Path, ms: float, target: str = "fake/fake/fp32@1", length: int = 32, device: str = "fake"
) -> Path:
    """A file as measure writes it: twelve visits, two of them disturbed and slower."""
    machine = open_device(device).fingerprint()
    visits = [Visit(float(i), (ms * (1 + 0.002 * i), 2 * ms)) for i in range(10)]
    visits += [Visit(11.0, (2 * ms,), causes=("load",))] * 2
    measured = Measurement(
        "c", Target.parse(target), machine.id, uniform(1, 16, 2, 32), Workload(1, length), "f32",
        tuple(visits),
    )  # fmt: skip
    data: dict[str, Any] = {
        "model": path.stem, "measurements": [measured.to_json()],
        "machines": {machine.id: machine.to_json()},
    }  # fmt: skip
    path.write_text(json.dumps(data))
    return path


def test_a_ratio_with_its_interval(tmp_path: Path) -> None:
    one, two = result(tmp_path / "one.json", 2.0), result(tmp_path / "two.json", 3.0)
    [row] = cutonce.compare(one, two)["comparisons"]
    assert row["ratio"] == pytest.approx(1.5)
    low, high = row["interval"]
    assert 1.45 < low <= 1.5 <= high < 1.55
    assert row["differs"]
    [same] = cutonce.compare(one, one)["comparisons"]
    assert same["ratio"] == 1.0
    assert not same["differs"]


def test_single_targets_of_different_names_are_compared(tmp_path: Path) -> None:
    one = result(tmp_path / "one.json", 2.0)
    two = result(tmp_path / "two.json", 1.0, target="fake/fake/int8@2")
    [row] = cutonce.compare(one, two)["comparisons"]
    assert row["targets"] == ["fake/fake/fp32@1", "fake/fake/int8@2"]


def test_unlike_machines_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = result(tmp_path / "one.json", 2.0)
    two = result(tmp_path / "two.json", 2.0, target="fake:7/fake/fp32@1", device="fake:7")
    with pytest.raises(NotTrustworthy, match="cpu: fake:0, not fake:7"):
        cutonce.compare(one, two)
    assert main(["compare", str(one), str(two)]) == 3
    assert "machines that differ" in capsys.readouterr().err


def test_unlike_workloads_are_refused(tmp_path: Path) -> None:
    one = result(tmp_path / "one.json", 2.0)
    with pytest.raises(NotTrustworthy, match="workloads differ"):
        cutonce.compare(one, result(tmp_path / "two.json", 2.0, length=16))


def test_no_target_in_common(tmp_path: Path) -> None:
    one = result(tmp_path / "one.json", 2.0)
    data = json.loads(one.read_text())
    other = {**data["measurements"][0], "target": "fake/fake/fp32@2"}
    two = tmp_path / "two.json"
    two.write_text(json.dumps({**data, "measurements": [other, {**other, "target": "x/y/z@1"}]}))
    with pytest.raises(UsageError, match="no target in common"):
        cutonce.compare(one, two)


def test_what_is_no_result(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    for text in ("{", "[]", '{"measurements": [{}]}'):
        broken.write_text(text)
        with pytest.raises(DataError, match="no result of a measurement"):
            cutonce.compare(broken, broken)
    with pytest.raises(DataError):
        cutonce.compare(tmp_path / "nowhere.json", broken)


def test_what_measure_writes_can_be_compared(model: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        cutonce.measure(
            model, ["fake/fake/fp32"], length=16, visits=9, store=tmp_path / "s.sqlite",
            out=tmp_path / f"{name}.json",
        )  # fmt: skip
    [row] = cutonce.compare(tmp_path / "one.json", tmp_path / "two.json")["comparisons"]
    assert 0.9 < row["ratio"] < 1.1

"""`cutonce measure` on the fake device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cutonce
from cutonce.cli import main
from devices.errors import NotTrustworthy

TARGET, OTHER = "fake:3/fake/fp32", "fake:3/fake/int8"


def measured(model: Path, place: Path, *targets: str, **more: Any) -> dict[str, Any]:
    return cutonce.measure(model, targets, length=32, store=place / "s.sqlite", **more)


def test_every_target_is_measured(model: Path, tmp_path: Path) -> None:
    found = measured(model, tmp_path, TARGET, OTHER)["measurements"]
    assert [entry["target"] for entry in found] == [f"{TARGET}@2", f"{OTHER}@2"]
    assert all(entry["statistics"]["quiet"] >= 20 for entry in found)


def test_when_the_time_is_up_the_visits_so_far_have_to_do(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [entry] = measured(model, tmp_path, TARGET, OTHER, minutes=0)["measurements"]
    assert entry["statistics"]["visits"] == 1
    assert any("Fewer than" in warning for warning in entry["warnings"])
    missing = {f"{TARGET}@2", f"{OTHER}@2"} - {entry["target"]}
    assert f"{missing.pop()}: not measured" in capsys.readouterr().err
    with pytest.raises(NotTrustworthy, match="not measured"):
        measured(model, tmp_path, TARGET, OTHER, minutes=0, strict=True)


def test_strict_ends_with_3(model: Path, tmp_path: Path) -> None:
    asked = ["measure", str(model), "--target", TARGET, "--length", "32", "--minutes", "0"]
    assert main([*asked, "--strict", "--store", str(tmp_path / "s.sqlite")]) == 3

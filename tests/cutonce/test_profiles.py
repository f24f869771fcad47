"""Profiles on the fake device, whose tile is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cutonce
from devices.runtimes.fake_runtime import Physics


@pytest.mark.parametrize("seed", [1, 3])
def test_the_tile_is_found_and_kept(tmp_path: Path, seed: int) -> None:
    target = f"fake:{seed}/fake/fp32@1"
    result = cutonce.profile(
        [target], around="L1-H64-A2-F128", configurations=6, length=64, store=tmp_path / "s.sqlite"
    )[target]
    assert result["tile"] == Physics.of(seed).tile
    assert json.loads(Path(result["file"]).read_text())["tile"] == result["tile"]
    assert len(result["measurements"]) == 6

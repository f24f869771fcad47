"""Profiles on the fake device, whose tile is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cutonce
from cutonce.commands.profile import show
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


def test_a_pair_that_could_not_be_measured_is_left_out_of_what_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    probes = [{"width": 520, "ratio": None}, {"width": 528, "ratio": 1.018}]
    made = {"loo": [], "error": 0.01, "measurements": [], "file": "p.json"}
    show({"local/torch/fp32@1": {**made, "tile": 16, "probes": probes}})
    said = capsys.readouterr().out
    assert "528 to 529: ×1.018" in said
    assert "520" not in said

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from deploy.architecture import uniform
from elastic.space import size_of
from predictors.tiles import BASE, CANDIDATES, Probe, find_tile, plan_probes

PROBES = plan_probes(uniform(2, 64, 4, 256))


def test_pairs_are_one_column_apart_at_odd_multiples() -> None:
    assert [probe.tile for probe in PROBES] == list(CANDIDATES)
    for probe in PROBES:
        narrow, wide = (size_of(encoder.operators[0]) for encoder in (probe.narrow, probe.wide))
        assert wide == narrow + 1
        assert narrow == probe.width == BASE + probe.tile
        assert narrow % probe.tile == 0
        assert narrow % (2 * probe.tile) != 0


def measured(ratios: Sequence[float]) -> list[Probe]:
    return [replace(p, ratio=(r, r - 0.01, r + 0.01)) for p, r in zip(PROBES, ratios, strict=True)]


@pytest.mark.parametrize("tile", CANDIDATES)
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_the_tile_of_a_staircase_is_found_under_noise(tile: int, share: float) -> None:
    rng = np.random.default_rng(tile)
    width = np.array([probe.width for probe in PROBES])

    def took(columns: np.ndarray) -> np.ndarray:
        return 1 - share + share * -(-columns // tile) * tile / width

    for _ in range(20):
        noise = rng.normal(0, 0.02 * share * tile / BASE, len(width))
        assert find_tile(measured((took(width + 1) / took(width) + noise).tolist())) == tile


def test_pairs_that_rise_by_their_column_alone_tell_no_tile() -> None:
    assert find_tile(measured([1 + 1 / p.width for p in PROBES])) is None
    assert find_tile(measured([0.95, 1.002, 0.99, 1.004])) is None


def test_a_pair_that_could_not_be_measured_leaves_the_tile_open() -> None:
    assert find_tile(PROBES) is None
    assert find_tile([*measured([1.0, 1.03, 1.03, 1.02])[:3], PROBES[3]]) is None
    assert find_tile([]) is None


def test_what_was_measured_here_is_told_the_same_each_time() -> None:
    """Pairs of onnxruntime in fp32, from five campaigns: 16 rises a little, 32 twice as much."""
    rows = [
        (1.015, 1.013, 1.045, 1.051),
        (1.011, 1.019, 1.058, 1.056),
        (1.006, 1.018, 1.055, 1.049),
    ]
    assert {find_tile(measured(row)) for row in rows} == {32}

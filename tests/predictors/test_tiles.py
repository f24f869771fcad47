from __future__ import annotations

from dataclasses import replace

from deploy.architecture import uniform
from predictors.tiles import BASE, CANDIDATES, find_tile, plan_probes

PROBES = plan_probes(uniform(2, 64, 4, 256))


def test_pairs_are_one_column_apart_at_odd_multiples() -> None:
    assert [probe.tile for probe in PROBES] == list(CANDIDATES)
    for probe in PROBES:
        narrow, wide = (encoder.operators[0].width for encoder in (probe.narrow, probe.wide))  # type: ignore[union-attr]
        assert wide == narrow + 1
        assert narrow % probe.tile == 0
        assert narrow % (2 * probe.tile) != 0
        assert narrow == BASE + probe.tile


def test_the_smallest_pair_that_jumps_is_the_tile() -> None:
    flat, up, doubtful = (1.002, 0.99, 1.004), (1.03, 1.02, 1.04), (1.03, 0.99, 1.07)
    taken = (flat, up, up, doubtful)
    probes = [replace(p, ratio=r) for p, r in zip(PROBES, taken, strict=True)]
    assert find_tile(probes) == 16
    assert find_tile(probes[:1]) is None
    assert find_tile(PROBES) is None  # nothing was measured
    assert [probe.to_json()["jumps"] for probe in probes] == [False, True, True, False]

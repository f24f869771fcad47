"""Which profile a search is content with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cutonce.needed import covers
from cutonce.profiles import load_profile
from deploy.architecture import uniform
from deploy.workload import Workload


def test_a_profile_around_a_model_covers_it_and_no_other(
    tmp_path: Path, put_profile: Callable[..., Path]
) -> None:
    dense, workload = uniform(6, 128, 4, 512), Workload(1, 32)
    kept = put_profile(tmp_path / "s.sqlite", "fake:3/fake/fp32@1", encoders=14, around=dense)
    predictor = load_profile(kept).predictor
    assert covers(predictor, dense, workload)
    assert covers(predictor, uniform(6, 128, 4, 512, vocabulary=9000, labels=6), workload)
    assert not covers(predictor, uniform(6, 256, 4, 1024), workload)
    assert not covers(predictor, uniform(24, 128, 4, 512), workload)
    assert not covers(predictor, dense, Workload(1, 64))

"""Which profile a search is content with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from cutonce.needed import covers
from cutonce.profiles import load_profile, stored_profile
from deploy.architecture import uniform
from deploy.workload import Workload
from devices.target import Target
from predictors.predictor import SCHEMA as PREDICTOR
from profiler.store import open_store


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


def test_a_profile_with_an_older_predictor_is_made_anew(
    tmp_path: Path, put_profile: Callable[..., Path]
) -> None:
    path, target = tmp_path / "s.sqlite", "fake:3/fake/fp32@1"
    file = put_profile(path, target)
    with open_store(path) as store:
        assert stored_profile(store, Target.parse(target)) is not None
        kept = json.loads(file.read_text())
        kept["predictor"]["schema"] = kept["schema"] = PREDICTOR - 1
        file.write_text(json.dumps(kept))
        assert stored_profile(store, Target.parse(target)) is None

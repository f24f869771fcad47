"""Which profile a search is content with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cutonce import needed
from cutonce.needed import covers, needed_predictors
from cutonce.profiles import load_profile, stored_profile
from deploy.architecture import uniform
from deploy.export_pool import ExportPool
from deploy.workload import Workload
from devices.target import Target
from elastic.search.budget import Budget
from predictors.predictor import SCHEMA
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
        kept["predictor"]["schema"] = kept["schema"] = SCHEMA - 1
        file.write_text(json.dumps(kept))
        assert stored_profile(store, Target.parse(target)) is None


def test_what_budgets_need_is_profiled_once(
    tmp_path: Path, pool: ExportPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense, workload = uniform(2, 32, 4, 128), Workload(1, 32)
    budget = Budget.parse("fake:3/fake/fp32@1=0.75x,1MB")
    with open_store(tmp_path / "s.sqlite") as store:
        setting: Any = SimpleNamespace(
            model=SimpleNamespace(encoder=SimpleNamespace(architecture=dense)),
            budgets=[budget], workload=workload, store=store, pool=pool, visits=2, seed=0,
        )  # fmt: skip
        made = needed_predictors(setting)
        assert {bound for _, bound in made} == {"intrinsic", "file"}
        assert covers(made[budget.target, "intrinsic"], dense, workload)
        monkeypatch.setattr(needed, "make_profiles", None)
        again = needed_predictors(setting)
    assert {key: each.to_json() for key, each in again.items()} == {
        key: each.to_json() for key, each in made.items()
    }

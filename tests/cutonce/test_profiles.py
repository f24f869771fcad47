"""Profiles on the fake device, whose tile is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import cutonce
from cutonce.commands.profile import show
from cutonce.profiles import Profile, known_predictors, profile_path
from cutonce.profiling import make_profiles
from deploy.architecture import Architecture, uniform
from deploy.export_pool import ExportPool
from deploy.exporters.to_fake import cost_list
from deploy.workload import Workload
from devices.errors import UsageError
from devices.runtimes.fake_runtime import Physics, fake_milliseconds
from devices.target import Target
from predictors import planner
from predictors.operators import Stack, plan_stacks
from profiler.store import open_store


def test_tile_sizes_and_operators_are_found_and_kept(tmp_path: Path, pool: ExportPool) -> None:
    targets = {seed: Target.parse(f"fake:{seed}/fake/fp32@1") for seed in (1, 3)}
    dense = uniform(1, 64, 2, 128, vocabulary=1024, positions=64)
    with open_store(tmp_path / "s.sqlite") as store:
        made = make_profiles(
            [*targets.values()],
            around=dense,
            workloads=[Workload(1, 64)],
            configurations=6,
            visits=5,
            store=store,
            pool=pool,
            seed=0,
            thorough=True,
        )
        files = [profile_path(store, profile.target, profile.fingerprint) for profile in made]
    for seed, profile, file in zip(targets, made, files, strict=True):
        kept = json.loads(file.read_text())
        assert kept["tile"] == Physics.of(seed).tile
        assert kept["operators"] == list(profile.operators)
        assert len(profile.measurements) == 6
        rows = {row["operator"]: row["ms"] for row in profile.operators}
        for stack in plan_stacks(dense):
            assert rows[stack.name] == pytest.approx(law(stack, seed), rel=0.05)


def test_a_few_encoders_do_beside_a_like_target_and_more_where_it_is_not_sure(
    tmp_path: Path,
    put_profile: Callable[..., Path],
    pool: ExportPool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner, "ERROR", 0.0)  # which nothing is sure enough for
    store, new = tmp_path / "s.sqlite", Target.parse("fake:3/fake/fp32@2")
    put_profile(store, "fake:3/fake/fp32@1")

    def made(configurations: int) -> Profile:
        with open_store(store) as opened:
            [found] = make_profiles(
                [new],
                around=uniform(1, 64, 2, 128),
                workloads=[Workload(1, 32)],
                configurations=configurations,
                at_most=6,
                visits=3,
                store=opened,
                pool=pool,
                seed=0,
            )
        return found

    few = made(5)
    assert len(few.measurements) == 6
    assert few.predictor.tier == 1
    with pytest.raises(UsageError, match="at least 5 configurations, not 4"):
        made(4)


def test_one_profile_covers_a_grid_of_workloads(tmp_path: Path, pool: ExportPool) -> None:
    store, target = tmp_path / "s.sqlite", "fake:3/fake/fp32@1"
    with open_store(store) as opened:
        [made] = make_profiles(
            [Target.parse(target)],
            around=uniform(1, 64, 2, 128),
            workloads=[Workload(batch, length) for batch in (1, 4) for length in (16, 64)],
            configurations=14,
            visits=3,
            store=opened,
            pool=pool,
            seed=0,
        )
    workloads = {(m.workload.batch, m.workload.length) for m in made.measurements}
    assert workloads >= {(1, 16), (4, 64)}  # between them no more than the law needs
    assert any(row.label.endswith("batch 4 × length 64") for row in made.predictor.loo)
    dense = uniform(1, 64, 2, 128, vocabulary=1024, positions=64)
    [row] = cutonce.predict(target, ["L1-H64-A2-F128"], batch=2, length=40, store=store)[
        "predictions"
    ]
    exact = fake_milliseconds(cost_list(dense, "fp32"), Physics.of(3), 1, 2, 40)
    assert row["in_domain"]
    assert row["ms"] == pytest.approx(exact, rel=0.1)


def test_nothing_is_shrunk_to_a_profile_of_too_few_encoders(
    tmp_path: Path, put_profile: Callable[..., Path]
) -> None:
    path, new = tmp_path / "s.sqlite", Target.parse("fake:3/fake/fp32@2")
    put_profile(path, "fake:3/fake/fp32@1", encoders=8)
    with open_store(path) as store:
        assert known_predictors(store, new) == []
        put_profile(path, "fake:4/fake/fp32@1")
        assert len(known_predictors(store, new)) == 1


def law(stack: Stack, seed: int) -> float:
    """What the fake device charges for one operator of a stack."""

    def encoder(architecture: Architecture | None) -> float:
        if architecture is None:
            return 0.0
        return fake_milliseconds(cost_list(architecture, "fp32"), Physics.of(seed), 1, 1, 64)

    return (encoder(stack.tall) - encoder(stack.base)) / stack.copies


def test_a_pair_that_could_not_be_measured_is_left_out_of_what_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    probes = [{"width": 520, "ratio": None}, {"width": 528, "ratio": 1.018}]
    made = {"loo": [], "error": 0.01, "measurements": [], "operators": [], "file": "p.json",
            "others": {"file size": 0.001}}  # fmt: skip
    show({"local/torch/fp32@1": {**made, "tile": 16, "probes": probes}})
    said = capsys.readouterr().out
    assert "528 to 529: ×1.018" in said
    assert "520" not in said


def test_what_many_encoders_are_warned_of_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    measured = [{"warnings": ["Busy."]}, {"warnings": ["Busy.", "Few."]}, {"warnings": []}]
    made = {"loo": [], "error": 0.01, "measurements": measured, "operators": [], "file": "p.json",
            "others": {}, "tile": None, "probes": []}  # fmt: skip
    show({"local/torch/fp32@1": made})
    warned = [line for line in capsys.readouterr().err.splitlines() if "Warning" in line]
    assert warned == [
        "Warning: local/torch/fp32@1, 2 of 3 encoders: Busy.",
        "Warning: local/torch/fp32@1, 1 of 3 encoders: Few.",
    ]

"""The main job on the fake device: real exports and answers, exact time."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import cutonce
from cutonce.cli import main
from cutonce.page.text import breakable
from deploy.architecture import Architecture
from deploy.encoder import Encoder
from devices import cluster
from devices.errors import ArtifactChanged, BudgetUnreachable, ModelError, UsageError
from devices.target import Target
from elastic.space import size_of
from profiler.store import Store
from tests.cluster import start_cluster

TARGET, OTHER = "fake:3/fake/fp32", "fake:4/fake/fp32"
VISITS = 9  # enough to be trusted, of exact time


@pytest.fixture(scope="module")
def place(
    model: Path, put_profile: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """With a store that has profiles around the model, of two targets."""
    from elastic.families import load

    place, around = tmp_path_factory.mktemp("search"), load(model).encoder.architecture
    put_profile(place / "store.sqlite", TARGET, encoders=14, around=around, sizes=True)
    put_profile(place / "store.sqlite", OTHER, encoders=14, around=around)
    return place


@pytest.fixture(scope="module")
def asked(small_task: dict[str, Any], place: Path) -> dict[str, Any]:
    return small_task | {
        "epochs": 0.5,
        "visits": VISITS,
        "store": place / "store.sqlite",
    }


@pytest.fixture(scope="module")
def found(asked: dict[str, Any], place: Path) -> dict[str, Any]:
    cuts, dense = [f"{TARGET}=0.75x", f"{TARGET}=0.5x"], f"{TARGET}=1000ms,1000MB"
    budgets = [*cuts, dense, f"{TARGET}=0.001ms"]
    return cutonce.search(**asked, budgets=budgets, out=place / "run")


@pytest.fixture(scope="module")
def artifact(found: dict[str, Any], place: Path) -> Path:
    entry = found["budgets"][1]
    result = cutonce.export(
        place / "run" / entry["subnet"], store=place / "store.sqlite", visits=VISITS
    )
    return Path(result["artifact"])


def test_budgets_are_met_by_what_was_measured(found: dict[str, Any]) -> None:
    first, second, generous = found["budgets"]
    for entry in (first, second):
        assert entry["status"] == "met"
        assert entry["measured"]["intrinsic"] <= entry["limit"]
        assert entry["parameters"] < found["dense"]["parameters"]
    assert second["speedup"] > first["speedup"] > 1.2
    assert generous["status"] == "dense meets it"
    assert generous["chain"] == found["dense"]["chain"]


def test_further_limits_hold_for_the_same_network(
    found: dict[str, Any], asked: dict[str, Any], place: Path
) -> None:
    megabytes = 0.9 * found["budgets"][0]["dense_size_bytes"] / 1e6
    budget = f"{TARGET}=0.75x,{megabytes:.3f}MB,{OTHER}=0.6x"
    result = cutonce.search(**asked, budgets=[budget], post_training=True, out=place / "further")
    [entry] = result["budgets"]
    assert entry["status"] == "met"
    assert entry["size_bytes"] / 1e6 <= megabytes
    assert [some["unit"] for some in entry["further"]] == ["MB", "ms"]
    for some in entry["further"]:
        assert some["measured"] <= some["limit"]
        assert some["predicted"] == pytest.approx(some["measured"], rel=0.1)


def test_an_artifact_is_held_to_every_limit_on_its_target(
    found: dict[str, Any], asked: dict[str, Any], place: Path
) -> None:
    megabytes = 0.9 * found["budgets"][0]["dense_size_bytes"] / 1e6
    budgets = [f"{TARGET}=0.75x,{megabytes:.3f}MB,{OTHER}=0.6x"]
    result = cutonce.search(**asked, budgets=budgets, post_training=True, out=place / "further")
    subnet = place / "further" / result["budgets"][0]["subnet"]
    measured: dict[str, Any] = {"store": place / "store.sqlite", "visits": VISITS}
    made = cutonce.export(subnet, **measured)
    beside = cutonce.export(subnet, target=OTHER, **measured)
    for report, bounds in ((made, ["intrinsic", "file"]), (beside, ["intrinsic"])):
        limits = report["latency"]["limits"]
        assert [some["bound"] for some in limits] == bounds
        assert all(some["measured"] <= some["limit"] for some in limits)
    assert cutonce.verify([made["artifact"], beside["artifact"]], **measured)["holds"]
    _promise(Path(made["artifact"]), 0.9 * made["latency"]["limits"][1]["measured"], bound="file")
    [row] = cutonce.verify([made["artifact"]], **measured)["artifacts"]
    assert not row["budget_met"]
    assert "MB" in row["faults"][0]
    assert len(row["faults"]) == 1


def test_memory_that_no_one_tells_is_not_bounded(asked: dict[str, Any], place: Path) -> None:
    with pytest.raises(UsageError, match="does not tell its peak memory"):
        cutonce.search(**asked, budgets=[f"{TARGET}=0.5x,90MB:memory"], out=place / "memory")


def test_what_was_evaluated_is_counted_and_certified(found: dict[str, Any]) -> None:
    assert found["search"]["evaluations"] > 10
    assert found["search"]["failed"] == 0
    first, second, generous, *_ = found["budgets"]
    assert generous["certificate"] is None
    for entry in (first, second):
        assert 0 <= entry["certificate"]["bound"] <= entry["certificate"]["loss"]


def test_a_bound_of_nothing_is_not_said_as_one() -> None:
    from cutonce.commands.search import certified

    assert "too little was evaluated" in certified(loss=0.2, bound=0.0, probability=0.95)
    assert "below 0.1 has a chance of 5%" in certified(loss=0.2, bound=0.1, probability=0.95)


def test_widths_step_by_the_tile_and_keep_their_steps(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cutonce import supernets
    from elastic.families import load

    dense = load(model).encoder.architecture
    names = ("fake:1/fake/fp32", "fake:2/fake/fp32", "fake:3/fake/fp32")
    tiles = dict(zip(map(Target.parse, names), (8, 16, None), strict=True))
    monkeypatch.setattr(supernets, "stored_tile", lambda _store, target: tiles[target])
    with Store(tmp_path / "store.sqlite") as store:
        step = supernets.width_step(store, tiles)
    space = supernets.make_space(tmp_path, dense, step)
    widths = [size_of(operator) for operator in space.choices[1]]
    assert all(width % 16 == 0 for width in widths)
    assert any(width % 32 for width in widths)
    assert supernets.make_space(tmp_path, dense, 64) == space


def test_a_smaller_trunk_is_taken_where_a_limit_asks_for_it(
    found: dict[str, Any], asked: dict[str, Any], place: Path
) -> None:
    """What no sub-layer holds, embedding and head, is a fifth of this file."""
    megabytes = 0.17 * found["budgets"][0]["dense_size_bytes"] / 1e6
    budget = f"{TARGET}=0.9x,{megabytes:.4f}MB"
    with pytest.raises(BudgetUnreachable, match="smallest reachable"):
        cutonce.search(**asked, budgets=[budget], post_training=True, out=place / "whole")
    result = cutonce.search(
        **asked, budgets=[budget], hidden=[8, 16], post_training=True, out=place / "hidden"
    )
    [entry] = result["budgets"]
    assert entry["status"] == "met"
    assert entry["trunk"] in ("hidden 8", "hidden 16")
    saved = Encoder.from_pretrained(place / "hidden" / entry["subnet"]).architecture
    assert saved.to_json() == entry["architecture"]
    assert saved.hidden == int(entry["trunk"].split()[1])
    assert entry["size_bytes"] / 1e6 <= megabytes


def test_a_trunk_that_cannot_be_is_refused_at_once(asked: dict[str, Any], place: Path) -> None:
    with pytest.raises(UsageError, match="hidden size cannot be 9999"):
        cutonce.search(**asked, budgets=[f"{TARGET}=0.5x"], hidden=[9999], out=place / "impossible")


def test_a_budget_out_of_reach_is_listed_beside_the_others(found: dict[str, Any]) -> None:
    assert found["unreachable"] == [f"{TARGET}=0.001ms"]
    assert any("fastest reachable" in warning for warning in found["warnings"])


def test_the_dense_model_is_visited_as_long_as_what_is_judged_beside_it(
    found: dict[str, Any], place: Path
) -> None:
    dense = Architecture.from_json(found["dense"]["architecture"])
    with closing(sqlite3.connect(place / "store.sqlite")) as connection:
        named = "SELECT DISTINCT campaign FROM subject WHERE campaign LIKE 'search/%/round %'"
        campaigns = [name for (name,) in connection.execute(named)]
    with Store(place / "store.sqlite") as store:
        rounds = [store.measurements(campaign=name) for name in campaigns]
    assert rounds
    for measured in rounds:
        visits = {found.architecture: len(found.visits) for found in measured}
        assert visits[dense] == max(visits.values())


def test_predictions_hold_on_what_was_measured(found: dict[str, Any]) -> None:
    [target] = found["targets"].values()
    for row in target["checked"]:
        assert row["predicted"] == pytest.approx(row["measured"], rel=0.1)


def test_sub_networks_load_again(found: dict[str, Any], place: Path) -> None:
    for entry in found["budgets"]:
        encoder = Encoder.from_pretrained(place / "run" / entry["subnet"])
        assert encoder.architecture.to_json() == entry["architecture"]
        assert encoder.label_names == ("fruit", "tool")


def test_a_finished_search_is_not_run_again(
    found: dict[str, Any], asked: dict[str, Any], place: Path
) -> None:
    budgets = [*(entry["budget"] for entry in found["budgets"]), *found["unreachable"]]
    assert cutonce.search(**asked, budgets=budgets, out=place / "run") == found
    with pytest.raises(UsageError, match="budgets"):
        cutonce.search(**asked, budgets=budgets[:1], out=place / "run")


def test_unreachable_budget_says_the_fastest_reachable(
    found: dict[str, Any],
    asked: dict[str, Any],
    place: Path,
) -> None:
    assert found
    with pytest.raises(BudgetUnreachable, match="fastest reachable"):
        cutonce.search(**asked, budgets=[f"{TARGET}=0.001ms"], out=place / "impossible")


@pytest.fixture
def forged(artifact: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(artifact, tmp_path / "forged"))


def verified(artifact: Path, place: Path, **more: Any) -> dict[str, Any]:
    result = cutonce.verify([artifact], store=place / "store.sqlite", visits=VISITS, **more)
    [row] = result["artifacts"]
    return row


def test_verify_holds_and_names_what_was_changed(artifact: Path, forged: Path, place: Path) -> None:
    words = ["--store", str(place / "store.sqlite"), "--visits", str(VISITS), "--json"]
    assert main(["verify", str(artifact), *words]) == 0
    tampered = forged / "reports" / "metrics.json"
    tampered.write_text(tampered.read_text().replace("0.", "1.", 1))
    with pytest.raises(ArtifactChanged, match="metrics"):
        verified(forged, place)
    assert main(["verify", str(forged), *words]) == 3


def test_verify_misses_a_tighter_budget(
    forged: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _promise(forged, 1e-4)
    words = ["verify", str(forged), "--store", str(place / "store.sqlite"), "--visits", "2"]
    assert main([*words, "--json"]) == 3
    [row] = json.loads(capsys.readouterr().out)["artifacts"]
    assert not row["budget_met"]
    assert "over the budget" in row["faults"][0]


def test_an_artifact_of_one_limit_is_still_held_to_it(forged: Path, place: Path) -> None:
    content = json.loads((forged / "reports" / "latency.json").read_text())
    [only] = content.pop("limits")
    _rewrite(forged, {**content, "limit": 1e-4, "bound": only["bound"], "fraction": None})
    row = verified(forged, place)
    assert not row["budget_met"]
    assert "over the budget" in row["faults"][0]


def test_a_fraction_is_judged_beside_the_dense_model_where_it_is(
    found: dict[str, Any], place: Path
) -> None:
    run, store = place / "run", place / "store.sqlite"
    subnet, out = run / found["budgets"][1]["subnet"], run / "a" / "beside"
    made = cutonce.export(subnet, store=store, visits=VISITS, out=out)
    assert made["latency"]["met"]
    fraction = made["latency"]["limits"][0]["limit"] / made["latency"]["dense"]["intrinsic"]
    assert fraction == pytest.approx(0.5)
    row = verified(out, place)
    assert row["limits"][0]["limit"] == pytest.approx(0.5 * row["dense"]["intrinsic"])
    assert row["dense"]["visits"] >= row["measured"]["visits"]
    alone = place / "elsewhere" / "artifacts" / "alone"
    shutil.copytree(out, alone)
    row = verified(alone, place)
    assert row["dense"] is None
    assert row["limits"] == [
        made["latency"]["limits"][0] | {k: row["limits"][0][k] for k in ("measured", "met")}
    ]


def test_verify_finds_data_that_moved_and_refuses_another(
    artifact: Path, data: Path, place: Path, tmp_path: Path
) -> None:
    same, other = tmp_path / "same.csv", tmp_path / "other.csv"
    lines = data.read_text().splitlines(keepends=True)
    same.write_text("".join(lines))
    other.write_text("".join(lines[:-1]))
    assert verified(artifact, place, data=same)["metrics"]["accuracy"] > 0
    row = verified(artifact, place, data=other)
    assert row["metrics"] is None
    assert "does not hold what the metric was taken on" in row["note"]


def test_export_of_any_model_with_a_task_of_its_own(
    model: Path, data: Path, place: Path, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {
        "target": TARGET, "length": 32, "visits": VISITS, "store": place / "store.sqlite",
    }  # fmt: skip
    plain = cutonce.export(model, **asked, out=tmp_path / "plain")
    assert plain["metrics"] is None
    task = {"data": data, "text": "text", "label": "label", "max_length": 32}
    scored = cutonce.export(model, **asked, **task, out=tmp_path / "scored")
    assert 0 <= scored["metrics"]["accuracy"] <= 1
    with pytest.raises(UsageError, match="--text"):
        cutonce.export(model, **asked, data=data, out=tmp_path / "textless")


def test_export_refuses_a_foreign_directory_before_any_work(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    monkeypatch.setattr("elastic.families.load", None)
    with pytest.raises(UsageError, match="not an artifact"):
        cutonce.export(model, target=TARGET, out=tmp_path)


def test_a_damaged_record_is_said(found: dict[str, Any], place: Path, tmp_path: Path) -> None:
    copy = tmp_path / "subnet"
    shutil.copytree(place / "run" / found["budgets"][0]["subnet"], copy)
    (copy / "subnet.json").write_text('{"schema": 1}')
    with pytest.raises(ModelError, match=r"subnet\.json is damaged"):
        cutonce.export(copy)


def test_another_model_at_the_same_path_is_another_search(
    model: Path, asked: dict[str, Any], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    moved, out = tmp_path / "model", tmp_path / "run"
    shutil.copytree(model, moved)
    changed = {**asked, "model": moved, "budgets": [f"{TARGET}=1000ms"], "out": out}
    cutonce.search(**changed)
    weights = load_file(moved / "model.safetensors")
    save_file(
        {k: v + 0.01 for k, v in weights.items()}, moved / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(UsageError, match=r"different: weights"):
        cutonce.search(**changed)
    assert (out / "run.json").exists()


def test_report_of_a_real_run(found: dict[str, Any], artifact: Path, place: Path) -> None:
    assert found
    assert artifact.exists()
    page = Path(cutonce.report(place / "run")["page"]).read_text()
    assert breakable(found["budgets"][0]["budget"]) in page


def test_predict_from_the_profile_that_the_search_used(
    found: dict[str, Any], model: Path, place: Path
) -> None:
    assert found
    result = cutonce.predict(TARGET, [str(model)], length=32, store=place / "store.sqlite")
    [row] = result["predictions"]
    assert row["in_domain"]
    assert row["lower"] < row["ms"] < row["upper"]


def test_what_many_budgets_are_warned_of_is_said_once() -> None:
    from cutonce.searching import doubts

    def cut(text: str, *warnings: str) -> Any:
        measurement = SimpleNamespace(warnings=warnings, architecture=None, workload=None)
        budget = SimpleNamespace(text=text, target="t")
        return SimpleNamespace(budget=budget, chosen=SimpleNamespace(measurement=measurement))

    inside = SimpleNamespace(in_domain=lambda *_: np.array([True]))
    cuts = [cut("a", "Busy."), cut("b", "Busy.", "Few."), cut("c", "Busy.")]
    assert [*doubts(cuts, {"t": inside})] == ["3 of 3 budgets: Busy.", "b: Few."]


def _promise(artifact: Path, limit: float, bound: str = "intrinsic") -> None:
    """Rewrite the budget in an artifact, its hash with it, as a forger with time would."""
    content = json.loads((artifact / "reports" / "latency.json").read_text())
    content["limits"] = [{**content["limits"][0], "bound": bound, "limit": limit, "fraction": None}]
    _rewrite(artifact, content)


def _rewrite(artifact: Path, latency: dict[str, Any]) -> None:
    from deploy.manifest import identity
    from devices.files import sha256

    report = artifact / "reports" / "latency.json"
    report.write_text(json.dumps(latency))
    manifest = artifact / "manifest.json"
    content = json.loads(manifest.read_text())
    for file in content["files"]:
        if file["path"] == "reports/latency.json":
            file["sha256"], file["bytes"] = sha256(report), report.stat().st_size
    manifest.write_text(json.dumps({**content, "id": identity(content)}))


def test_a_fleet_evaluates_what_one_process_does(
    found: dict[str, Any], asked: dict[str, Any], place: Path
) -> None:
    pytest.importorskip("distributed")
    with start_cluster({}, free=2) as running:
        address = running.scheduler_address
        result = cutonce.search(
            **asked,
            budgets=[f"{TARGET}=0.5x"],
            post_training=True,
            fleet=address,
            out=place / "fleet",
        )
        cluster.disconnect(address)
    assert result["budgets"][0]["status"] == found["budgets"][1]["status"] == "met"
    there, here = (
        {tuple(row["chain"]): row["kl"] for row in some["evaluated"]} for some in (result, found)
    )
    both = there.keys() & here.keys()
    assert len(both) > 3
    assert all(there[chain] == pytest.approx(here[chain], rel=1e-5, abs=1e-9) for chain in both)

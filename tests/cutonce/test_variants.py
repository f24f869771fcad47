"""Every variant of a device tried, on the fake device: real files and answers, exact time."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import cutonce
from cutonce import variants
from cutonce.cli import main
from cutonce.tasks import load_task
from cutonce.variants import Contest, targets_of
from deploy.artifact import Artifact
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.task import Task
from deploy.workload import Workload
from devices.errors import GateNotMet, UnknownName
from devices.target import Target
from elastic.families import LoadedModel, load
from profiler.store import open_store

FP32, INT8 = (Target("fake:3", "fake", precision, 1) for precision in ("fp32", "int8"))


def silent(_done: int, _total: int) -> None:
    pass


@pytest.fixture
def loaded(model: Path) -> LoadedModel:
    return load(str(model))


@pytest.fixture
def task(loaded: LoadedModel, data: Path) -> Task:
    return load_task(
        loaded, kind=None, data=data, text="text", text_pair=None, label="label", evaluation=None,
        max_length=16, seed=0,
    )  # fmt: skip


@pytest.fixture
def contest(loaded: LoadedModel) -> Contest:
    return Contest(loaded.encoder, [FP32, INT8], Workload(1, 16))


def measured(contest: Contest, place: Path) -> None:
    with open_store(place / "store.sqlite") as store:
        contest.measure(store, visits=8, seed=0, advance=silent)


def test_auto_stands_for_every_runtime_and_precision_there() -> None:
    assert targets_of("fake:3/auto@1") == [FP32, INT8]
    assert targets_of("fake:3/fake/int8@1") == [INT8]
    here = [str(target) for target in targets_of("local/auto@1")]
    assert {"local/torch/fp32@1", "local/onnxruntime/int8-reduced@1"} <= set(here)
    assert not any("fake" in text for text in here)
    with pytest.raises(UnknownName, match="fake"):
        targets_of("fkae/auto")


def test_the_fastest_is_exported_and_tells_of_the_others(
    model: Path, data: Path, tmp_path: Path
) -> None:
    made = cutonce.export(
        model, target="fake:3/auto@1", data=data, text="text", label="label", max_length=16,
        length=16, visits=8,
        store=tmp_path / "store.sqlite", out=tmp_path / "artifact", allowed_loss=0.1,
    )  # fmt: skip
    rows = {row["target"]: row for row in made["variants"]}
    assert set(rows) == {str(FP32), str(INT8)}
    assert rows[str(INT8)]["latency"]["intrinsic"] < rows[str(FP32)]["latency"]["intrinsic"]
    assert made["target"] == str(INT8)
    kept = json.loads((tmp_path / "artifact" / "reports" / "variants.json").read_text())
    assert kept == json.loads(json.dumps(made["variants"]))
    for row in kept:
        assert row["out"] is None
        assert row["parity"]["passed"]
        assert 0 < row["search_score"] <= 1
        assert row["size_bytes"] > 0
    checked = cutonce.verify([tmp_path / "artifact"], store=tmp_path / "store.sqlite", visits=8)
    assert checked["holds"]


def test_what_cannot_be_exported_is_out(
    contest: Contest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(encoder: Any, runtime: str, precision: str, *rest: Any) -> Any:
        if precision == "int8":
            raise ValueError("no such kernel")
        return export_variant(encoder, runtime, precision, *rest)

    monkeypatch.setattr(variants, "export_variant", export)
    contest.export(tmp_path, (), silent)
    contest.prove(None, 0.0, silent)
    measured(contest, tmp_path)
    assert contest.fastest() == FP32
    row = contest.to_json()[1]
    assert row["out"] == f"{INT8}: ValueError: no such kernel"
    assert row["parity"] is row["latency"] is row["size_bytes"] is None


def test_what_fails_the_gate_is_out_and_keeps_its_numbers(
    contest: Contest, loaded: LoadedModel, tmp_path: Path
) -> None:
    contest.export(tmp_path, (), silent)
    torch.manual_seed(1)
    wrong = Encoder(replace(loaded.encoder.architecture, operators=())).eval()
    other = export_variant(wrong, "fake", "int8", tmp_path / "wrong")
    shutil.copy(other.path, contest.subjects[INT8].exported.path)
    contest.prove(None, 0.0, silent)
    measured(contest, tmp_path)
    assert contest.fastest() == FP32
    row = contest.to_json()[1]
    assert "does not answer as the encoder does" in row["out"]
    assert not row["parity"]["passed"]
    assert row["latency"] is None


def test_what_loses_too_much_is_out(contest: Contest, task: Task, tmp_path: Path) -> None:
    contest.export(tmp_path, (), silent)
    contest.prove(task, -2.0, silent)  # no score is two above the encoder's
    assert set(contest.out) == {FP32, INT8}
    assert set(contest.scores) == {FP32, INT8}
    measured(contest, tmp_path)
    with pytest.raises(GateNotMet, match=r"No variant can be shipped: .*on the search split"):
        contest.fastest()


def test_what_is_computed_in_another_precision_is_out(contest: Contest, tmp_path: Path) -> None:
    contest.export(tmp_path, (), silent)
    costs = contest.subjects[FP32].exported.path.with_suffix(".costs.json")
    costs.write_text(costs.read_text().replace('"fp32"', '"int8"'))
    contest.prove(None, 0.0, silent)
    measured(contest, tmp_path)
    assert contest.out == {FP32: f"{FP32}: it computes in int8 there."}
    assert contest.fastest() == INT8


def test_what_cannot_run_here_is_written_unproved(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "artifact"
    words = ["export", str(model), "--out", str(place), "--unproved", "--target"]
    assert main([*words, "local/tensorrt/fp16"]) == 2
    assert "128 is more than the 32 positions" in capsys.readouterr().err
    words[1:1] = ["--length", "16"]
    assert main([*words, "local/tensorrt/fp16"]) == 0
    assert "`cutonce verify` proves it where it runs" in capsys.readouterr().out
    artifact = Artifact.open(place)
    artifact.check_hashes()
    assert artifact.reports == {"promise": {"limits": []}}
    assert {path.name for path in artifact.exported.files} == {
        "model_fp16.onnx", "profiles.json", "build.sh",
    }  # fmt: skip
    assert "Nothing of it was run" in (place / "README.md").read_text()
    assert main([*words, "fake:3/auto"]) == 2
    assert "chooses by measuring" in capsys.readouterr().err
    assert main([*words, "fake:3/fake/int8"]) == 0
    checked = cutonce.verify([place], store=tmp_path / "store.sqlite", visits=8)
    assert checked["holds"]

"""Elastic training from the command line to a sub-network that a search chose."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import cutonce
from cutonce.cli import main
from cutonce.commands.train import show
from deploy.architecture import Attention
from deploy.costs import parameters
from deploy.tokens import place_tokenizer
from devices.errors import ModelError, UnknownName, UsageError
from elastic.checkpoint import RECORD, ElasticCheckpoint
from elastic.families import load
from elastic.space import SearchSpace
from elastic.trunk import Trunk

TARGET = "fake:3/fake/fp32"


@pytest.fixture(scope="module")
def described(data: Path) -> dict[str, Any]:
    return {"data": data, "text": "text", "label": "label", "max_length": 32}


@pytest.fixture(scope="module")
def dense(model: Path, described: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dense") / "model"
    cutonce.train(model, **described, out=out, epochs=8.0, learning_rate=3e-3, batch_size=16)
    return out


@pytest.fixture(scope="module")
def trained(
    dense: Path, described: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    return cutonce.train(
        dense, recipe="dynabert", **described, epochs=2.0, learning_rate=1e-3, batch_size=16,
        out=tmp_path_factory.mktemp("elastic") / "model",
    )  # fmt: skip


def test_every_network_of_the_recipe_is_scored(trained: dict[str, Any]) -> None:
    assert len(trained["networks"]) == 12
    assert trained["networks"]["width 1, depth 1"] == trained["metrics"]["report"]
    assert trained["networks"]["width 0.5, depth 1"]["accuracy"] > 0.9
    assert trained["passes"] > 0
    assert not list(Path(trained["model"]).parent.glob(".*"))


def test_a_search_chooses_among_what_was_trained_and_trains_nothing(
    trained: dict[str, Any],
    described: dict[str, Any],
    put_profile: Callable[..., Path],
    tmp_path: Path,
) -> None:
    encoder = load(trained["model"]).encoder
    put_profile(tmp_path / "s.sqlite", TARGET, around=encoder.architecture)
    found = cutonce.search(
        trained["model"], budgets=[f"{TARGET}=0.6x"], **described, length=32, post_training=True,
        rounds=1, visits=9, store=tmp_path / "s.sqlite", out=tmp_path / "run",
    )  # fmt: skip
    [entry] = found["budgets"]
    assert entry["status"] == "met"
    assert entry["metrics"]["report"]["accuracy"] > 0.8
    widths = {int(size[1:]) for size in entry["chain"][1::2] if size != "-"}
    assert widths <= {32, 64, 96, 128}
    small = load(tmp_path / "run" / entry["subnet"]).encoder
    kept = small.operators[0].query.weight
    assert kept.equal(encoder.operators[0].query.weight[: len(kept)]) or entry["chain"][0] == "-"


def test_a_trunk_that_was_not_trained_is_refused(
    trained: dict[str, Any],
    described: dict[str, Any],
    put_profile: Callable[..., Path],
    tmp_path: Path,
) -> None:
    put_profile(tmp_path / "s.sqlite", TARGET)
    said = "was not trained with hidden 16, but with the dense sizes"
    with pytest.raises(UsageError, match=said):
        cutonce.search(
            trained["model"], budgets=[f"{TARGET}=0.6x"], **described, length=32, hidden=[16],
            store=tmp_path / "s.sqlite", out=tmp_path / "run",
        )  # fmt: skip


def test_smaller_trunks_and_heads_are_trained_and_searched(
    dense: Path, described: dict[str, Any], put_profile: Callable[..., Path], tmp_path: Path
) -> None:
    made = cutonce.train(
        dense, recipe="cutonce", **described, epochs=2.0, learning_rate=1e-3, batch_size=16,
        settings={"hidden": "16", "rank": "12", "head_sizes": "4"}, out=tmp_path / "model",
    )  # fmt: skip
    architecture, store = load(made["model"]).encoder.architecture, tmp_path / "s.sqlite"
    put_profile(store, TARGET, around=architecture, sizes=True)
    megabytes = 0.17 * 4 * parameters(architecture) / 1e6  # embedding and head are a fifth
    found = cutonce.search(
        made["model"], budgets=[f"{TARGET}=0.9x,{megabytes:.4f}MB"], hidden=[16],
        **described, length=32, post_training=True, rounds=1, visits=9, store=store,
        out=tmp_path / "run",
    )  # fmt: skip
    [entry] = found["budgets"]
    assert entry["status"] == "met"
    assert entry["trunk"] == "hidden 16"
    assert entry["metrics"]["report"]["accuracy"] > 0.8
    checkpoint = ElasticCheckpoint.read(Path(made["model"]), load(made["model"]).encoder)
    assert checkpoint is not None
    assert checkpoint.trunks[-1] == Trunk(hidden=16, rank=12)
    assert checkpoint.teacher is not None
    assert checkpoint.teacher.digest == load(dense).encoder.digest != checkpoint.encoder.digest
    assert Attention(4, 4) in checkpoint.space.choices[0]


def test_a_search_cuts_the_teacher_where_what_was_trained_is_further_from_it(
    dense: Path, described: dict[str, Any], put_profile: Callable[..., Path], tmp_path: Path
) -> None:
    teacher = load(dense)
    ruined = copy.deepcopy(teacher.encoder)
    for tensor in ruined.parameters():
        torch.nn.init.normal_(tensor.data, std=0.3)
    space = SearchSpace.around(ruined.architecture)
    ElasticCheckpoint("cutonce", ruined, space, 1.0, teacher=teacher.encoder).save(
        tmp_path / "model"
    )
    assert teacher.tokenizer is not None
    place_tokenizer(teacher.tokenizer, tmp_path / "model")
    put_profile(tmp_path / "s.sqlite", TARGET, around=ruined.architecture)
    found = cutonce.search(
        tmp_path / "model", budgets=[f"{TARGET}=0.6x"], **described, length=32, post_training=True,
        rounds=1, visits=9, store=tmp_path / "s.sqlite", out=tmp_path / "run",
    )  # fmt: skip
    [entry] = found["budgets"]
    assert not entry["taught"]
    assert entry["metrics"]["report"]["accuracy"] > 0.8
    assert found["dense"]["metrics"]["report"]["agreement"] == 1.0
    assert {row["taught"] for row in found["evaluated"]} == {False}


def test_settings_of_a_recipe_are_given_by_name(
    dense: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train", str(dense), "--recipe", "rosita", "--set", "shape=L1-A2-F32", "--set", "stages=2",
        "--data", str(data), "--text", "text", "--label", "label", "--max-length", "32",
        "--epochs", "2", "--learning-rate", "1e-3", "--augment", "1", "--out", str(tmp_path / "small"),
    ]  # fmt: skip
    assert main(words) == 0
    capsys.readouterr()
    small = load(tmp_path / "small").encoder.architecture
    assert [str(operator) for operator in small.operators] == ["A2", "F32"]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"settings": {"shap": "L1"}}, UnknownName, "Did you mean 'shape'"),
        ({"settings": {"stages": "two"}}, UsageError, "Setting stages is 'two'; expected int"),
        ({"recipe": "cutonce", "settings": {"hidden": "a"}}, UsageError, "whole numbers between"),
        ({"recipe": "dense", "settings": {"x": 1}}, UsageError, "--set and --augment are for"),
        ({"recipe": "dense", "word_vectors": Path("x")}, UsageError, "--set and --augment are for"),
        ({"recipe": "dynabrt"}, UnknownName, "Did you mean 'dynabert'"),
        ({"language_model": "x"}, UsageError, "go with --augment"),
    ],
)
def test_what_does_not_go_together_is_said(
    dense: Path, described: dict[str, Any], tmp_path: Path, change: Any, error: Any, said: str
) -> None:
    asked = {"recipe": "rosita", **described, "out": tmp_path / "out", **change}
    with pytest.raises(error, match=said):
        cutonce.train(dense, **asked)
    assert not (tmp_path / "out").exists()


def test_a_language_model_must_be_one_and_of_the_same_tokens(
    dense: Path, described: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="not a masked language model"):
        cutonce.train(
            dense,
            recipe="rosita",
            **described,
            out=tmp_path / "out",
            augment=1,
            language_model=dense,
        )


def test_checkpoints_of_another_recipe_are_refused(
    dense: Path, described: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("elastic.recipes.rosita.check_teacher", interrupted)
    asked = {**described, "out": tmp_path / "out", "epochs": 0.1}
    with pytest.raises(KeyboardInterrupt):
        cutonce.train(dense, recipe="rosita", **asked)
    with pytest.raises(KeyboardInterrupt):  # nothing was trained yet, so that nothing is lost
        cutonce.train(dense, recipe="rosita", **asked | {"epochs": 0.2})
    (tmp_path / ".out.training" / "depth-1" / "checkpoints").mkdir(parents=True)
    with pytest.raises(UsageError, match="checkpoints of another training"):
        cutonce.train(dense, recipe="yoco", **asked)


def test_a_model_that_was_cut_to_one_has_one_network(
    dense: Path, described: dict[str, Any], tmp_path: Path
) -> None:
    cutonce.train(
        dense, recipe="rosita", **described, out=tmp_path / "out", epochs=0.5,
        settings={"stages": 1},
    )  # fmt: skip
    assert (tmp_path / "out" / RECORD).exists()


PRICED = "fake:3/fake/fp32@1"


@pytest.fixture
def priced(described: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A short training of nas-bert by the latency of a target."""
    return {
        **described, "recipe": "nas-bert", "out": tmp_path / "out", "epochs": 0.5,
        "settings": {"share": "1.0"}, "target": PRICED, "length": 32, "store": tmp_path / "s.sqlite",
    }  # fmt: skip


def test_nas_bert_keeps_to_a_share_of_the_milliseconds_on_a_target(
    dense: Path,
    priced: dict[str, Any],
    put_profile: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    put_profile(priced["store"], PRICED, around=None)
    found = cutonce.train(dense, **priced)
    [whole] = cutonce.predict(PRICED, [str(dense)], length=32, store=priced["store"])["predictions"]
    latency = found["latency"]
    assert latency["target"] == PRICED
    assert latency["workload"] == {"batch": 1, "length": 32}
    assert latency["ms"] <= whole["ms"]
    assert latency["interval"][0] < latency["ms"] < latency["interval"][1]
    show(found)
    assert "an extrapolation" in capsys.readouterr().out


def test_a_training_priced_otherwise_does_not_go_on(
    dense: Path,
    priced: dict[str, Any],
    put_profile: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("elastic.recipes.nas_bert.check_teacher", interrupted)
    other = "fake:4/fake/fp32@1"
    for target in (PRICED, other):
        put_profile(priced["store"], target, around=None)
    with pytest.raises(KeyboardInterrupt):
        cutonce.train(dense, **priced)
    (priced["out"].with_name(".out.training") / "blocks" / "checkpoints").mkdir(parents=True)
    unpriced = dict.fromkeys(("target", "length", "store"))
    for change in ({"target": other}, {"batch": 2}, unpriced):
        with pytest.raises(UsageError, match="checkpoints of another training"):
            cutonce.train(dense, **priced | change)
    with pytest.raises(KeyboardInterrupt):
        cutonce.train(dense, **priced)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, f"No profile of {PRICED} on this machine; `cutonce profile {PRICED}` makes one"),
        ({"recipe": "rosita"}, "--target prices the blocks of --recipe nas-bert"),
        ({"recipe": "dense", "settings": {}}, "--target prices the blocks of --recipe nas-bert"),
        ({"target": None}, "--batch, --length and --store are of --target"),
        ({"target": "fake"}, "DEVICE/RUNTIME/PRECISION"),
        ({"batch": 0}, "Workload batch must be"),
    ],
)
def test_what_a_target_needs_is_said_before_anything_is_trained(
    dense: Path, priced: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        cutonce.train(dense, **priced | change)
    assert not priced["out"].with_name(".out.training").exists()


def test_a_workload_longer_than_the_model_takes_is_refused(
    dense: Path, priced: dict[str, Any], put_profile: Callable[..., Path]
) -> None:
    put_profile(priced["store"], PRICED, around=None)
    with pytest.raises(UsageError, match="Length 64 is more than the 32 positions"):
        cutonce.train(dense, **priced | {"length": 64})


def test_a_profile_without_convolutions_is_refused(
    dense: Path, priced: dict[str, Any], put_profile: Callable[..., Path]
) -> None:
    put_profile(priced["store"], PRICED, around=load(dense).encoder.architecture)
    with pytest.raises(UsageError, match=r"has no separable convolutions.*without --around"):
        cutonce.train(dense, **priced)


def test_a_target_without_a_profile_is_a_usage_error_on_the_command_line(
    dense: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train", str(dense), "--recipe", "nas-bert", "--data", str(data), "--text", "text",
        "--label", "label", "--out", str(tmp_path / "out"), "--target", PRICED, "--batch", "2",
        "--length", "32", "--store", str(tmp_path / "s.sqlite"),
    ]  # fmt: skip
    assert main(words) == 2
    assert f"`cutonce profile {PRICED}` makes one" in capsys.readouterr().err

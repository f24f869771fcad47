"""Trainings that `accelerate launch` starts in two processes: what comes out is what one would give.

Launched itself, this file trains what its tests look at.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import cutonce
from cutonce.console import progress, told_once
from cutonce.tasks import load_task
from deploy.encoder import Encoder
from deploy.task import Task
from devices.errors import ModelError, UsageError
from elastic.families import load
from elastic.recipes import ELASTIC
from elastic.recipes.processes import gathered, processes
from elastic.recipes.training import fit, inputs_of
from elastic.recipes.yoco import PHASES

pytestmark = pytest.mark.slow  # three processes load torch

LAUNCH = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
    "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port",
    "0", __file__,
]  # fmt: skip
ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
SETTINGS: dict[str, Any] = {"epochs": 0.3, "learning_rate": 1e-3, "batch_size": 14}
OWN: dict[str, dict[str, Any]] = {
    "dense": {"epochs": 1.5},
    "dynabert": {},
    "yoco": {},
    "nas-bert": {"settings": {"share": 1.0}},
    "rosita": {"epochs": 1.0, "settings": {"stages": 2, "shape": "L1-A3-F64"}},
}
INTERRUPTED = "cutonce"
DATA = {"text": "text", "label": "label", "max_length": 32}


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Make recipes look at less than they do."""
    patch.setattr("elastic.recipes.yoco.PHASES", PHASES[-1:])
    patch.setattr("elastic.recipes.cutonce.POSTERIORS", 2)
    patch.setattr("elastic.recipes.nas_bert.EVALUATED", 3)
    patch.setattr("elastic.recipes.rosita.WIDTH_WINDOW", 0.5)


def train_all(model: Path, teacher: Path, data: Path, out: Path) -> dict[str, Any]:
    """What the command says of every recipe, its models in ``out``."""
    return {
        recipe: cutonce.train(
            model if recipe == "dense" else teacher,
            recipe=recipe,
            out=out / recipe,
            data=data,
            **DATA,
            **SETTINGS | own,
        )
        for recipe, own in OWN.items()
    }


def train_interrupted(encoder: Encoder, task: Task, out: Path) -> None:
    """Stopped late and then gone on with."""

    def stop_late(done: int, total: int) -> None:
        if done > 0.7 * total:
            raise KeyboardInterrupt

    train = ELASTIC.get(INTERRUPTED)
    with pytest.raises(KeyboardInterrupt):
        train(encoder, task, out=out / "unfinished", progress=stop_late, **SETTINGS)
    found = train(encoder, task, out=out / "unfinished", **SETTINGS)
    if processes().is_main_process:
        found.save(out / INTERRUPTED)


def drawn_in(encoder: Encoder, task: Task) -> list[float]:
    """What this process draws in a training in which others have drawn less after every batch."""
    drawn = []

    def loss(encoder: Any, batch: Any) -> torch.Tensor:
        drawn.append(float(torch.rand(())))
        torch.rand(processes().process_index)
        return encoder(**inputs_of(batch)).square().mean()

    fit(encoder, task, loss=loss, seed=0, **SETTINGS)
    return drawn


def said_of(encoder: Encoder, task: Task) -> str:
    """What is said where the loss of the second process is no number."""

    def loss(encoder: Any, batch: Any) -> torch.Tensor:
        wrong = 0.0 if processes().is_main_process else float("nan")
        return encoder(**inputs_of(batch)).square().mean() + wrong

    with pytest.raises(ModelError) as error:
        fit(encoder, task, loss=loss, seed=0, **SETTINGS)
    return str(error.value)


def main(model: Path, teacher: Path, data: Path, out: Path) -> None:
    encoder, task = read(teacher, data)
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        found: dict[str, Any] = {"results": train_all(model, teacher, data, out)}
        train_interrupted(encoder, task, out)
    for told in (drawn_in, said_of):
        found[told.__name__] = gathered({str(processes().process_index): told(encoder, task)})
    if processes().is_main_process:
        (out / "found.json").write_text(json.dumps(found))


def read(teacher: Path, data: Path) -> tuple[Encoder, Task]:
    loaded = load(str(teacher))
    return loaded.encoder, load_task(
        loaded, kind=None, data=data, text_pair=None, evaluation=None, seed=0, **DATA
    )


@pytest.fixture(scope="module")
def still(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model without dropout, which is different for every example."""
    place = tmp_path_factory.mktemp("still") / "model"
    shutil.copytree(model, place)
    config = json.loads((place / "config.json").read_text())
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (place / "config.json").write_text(json.dumps(config | none))
    return place


@pytest.fixture(scope="module")
def teacher(still: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher") / "model"
    cutonce.train(still, data=data, **DATA, out=out, epochs=8.0, learning_rate=3e-3, batch_size=16)
    return out


@pytest.fixture(scope="module")
def runs(
    still: Path, teacher: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What this process trains, and what two others train beside it, found and wrote."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    words = [*LAUNCH, *map(str, (still, teacher, data, two))]
    given = os.environ | ENVIRONMENT
    with subprocess.Popen(words, env=given, stderr=subprocess.PIPE, text=True) as launched:
        try:
            encoder, task = read(teacher, data)
            with pytest.MonkeyPatch.context() as patch:
                shorten(patch)
                patch.setattr(torch.cuda, "is_available", lambda: False)  # as for the others
                results = train_all(still, teacher, data, one)
                ELASTIC.get(INTERRUPTED)(encoder, task, **SETTINGS).save(one / INTERRUPTED)
            _, stderr = launched.communicate(timeout=600)
        finally:
            launched.terminate()
    assert launched.returncode == 0, stderr
    found = json.loads((two / "found.json").read_text())
    return {"out": one, "results": results}, {"out": two, "stderr": stderr, **found}


@pytest.mark.parametrize("recipe", [*OWN, INTERRUPTED])
def test_two_processes_train_what_one_trains(
    runs: Any, teacher: Path, data: Path, recipe: str
) -> None:
    before, task = read(teacher, data)
    [batch] = task.batches("report")
    inputs = {name: torch.from_numpy(array) for name, array in batch.items()}
    with torch.inference_mode():
        one, two = (load(str(run["out"] / recipe)).encoder(**inputs) for run in runs)
        moved = (one - before(**inputs)).abs().max()
    assert (two - one).abs().max() < 3e-4 * moved


def test_results_and_passes_are_those_of_one(runs: Any) -> None:
    one, two = (run["results"] for run in runs)
    for recipe in OWN:
        for name in ("metrics", "networks"):
            assert two[recipe].get(name) == one[recipe].get(name)
        assert two[recipe].get("passes") == pytest.approx(one[recipe].get("passes"))


def test_every_process_draws_the_same(runs: Any) -> None:
    first, second = runs[1]["drawn_in"].values()
    assert len(set(first)) == len(first) > 1
    assert first == second


def test_all_processes_stop_where_one_diverges(runs: Any) -> None:
    first, second = runs[1]["said_of"].values()
    assert "the loss is nan" in first
    assert first == second


def test_one_process_tells_and_what_it_wrote_is_whole(runs: Any) -> None:
    for recipe in OWN:
        assert runs[1]["stderr"].count(f"training {recipe} …") == 1
    assert "[transformers]" not in runs[1]["stderr"]
    assert {path.name for path in runs[1]["out"].iterdir()} == {
        *OWN, INTERRUPTED, "unfinished", "found.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rank", "said"), [("0", pytest.raises(UsageError)), ("1", pytest.raises(SystemExit))]
)
def test_what_all_find_wrong_the_main_process_tells(
    rank: str, said: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", rank)
    with said as error, told_once(), progress("training"):
        raise UsageError("no")
    assert getattr(error.value, "code", 2) == UsageError.exit_code
    assert (capfd.readouterr().err == "") == (rank == "1")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

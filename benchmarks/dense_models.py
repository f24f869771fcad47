"""The dense models that benchmarks cut, with their tasks."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

from reactions import reaction_task

import cutonce
from cutonce.tasks import load_task
from deploy.encoder import Encoder
from deploy.task import Task
from elastic.families import load
from elastic.recipes.teacher import check_teacher

HELD_OUT = 5000
SHAPES = {  # and epochs, and learning rates: at twice this one, some seeds never learn SST-2
    "sst2": ("L6-H256-A4-F1024", 2.0, 1.5e-4),
    "sst2-small": ("L4-H192-A4-F768", 3.0, 1.5e-4),
    "trec": ("L6-H256-A4-F1024", 12.0, 3e-4),
}


def prepare(
    name: str, data: Path, out: Path, seed: int, quick: bool
) -> tuple[Encoder, Task, Task | None]:
    """The dense model, trained where it has to be, its task, and the task that reports on the dev set.

    Raises UsageError where it did not learn the task.
    """
    if name == "albert":
        loaded = load(data / "model_rxnmapper_albert")
        return loaded.encoder, reaction_task(data / "model_rxnmapper_albert", seed), None
    place = out / name
    described = trec(data, place) if name == "trec" else sst2(data, place, seed)
    dense = place / "dense"
    if not dense.exists():
        shape, epochs, rate = ("L2-H128-A2-F512", 1.0, 3e-4) if quick else SHAPES[name]
        cutonce.train(
            shape, tokenizer=data / "vocab_bert_uncased", **described,
            epochs=epochs, learning_rate=rate, out=dense, seed=seed,
        )  # fmt: skip
    model = load(dense)
    rest = {"text_pair": None, "kind": None, "seed": seed}
    task, dev = load_task(model, **described | rest), None
    check_teacher(model.encoder, task)
    if name != "trec":
        official = {"evaluation": data / "glue" / "SST-2" / "dev.tsv"}
        dev = load_task(model, **described | rest | official)
    return model.encoder, task, dev


def sst2(data: Path, place: Path, seed: int) -> dict[str, Any]:
    """62,000 sentences to train on, 5,000 held out for the report."""
    with (data / "glue" / "SST-2" / "train.tsv").open(encoding="utf-8") as file:
        header, *lines = file.read().splitlines()
    random.Random(seed).shuffle(lines)
    place.mkdir(parents=True, exist_ok=True)
    for name, some in (("train", lines[HELD_OUT:]), ("report", lines[:HELD_OUT])):
        (place / f"{name}.tsv").write_text("\n".join([header, *some]) + "\n", encoding="utf-8")
    return {
        "data": place / "train.tsv", "evaluation": place / "report.tsv", "text": "sentence",
        "label": "label", "max_length": 64,
    }  # fmt: skip


def trec(data: Path, place: Path) -> dict[str, Any]:
    place.mkdir(parents=True, exist_ok=True)
    for name, source in (("train", "TREC.train.all"), ("report", "TREC.test.all")):
        lines = (data / "trec" / source).read_text(encoding="utf-8").splitlines()
        with (place / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("label", "text"), *(line.split(" ", 1) for line in lines)])
    return {
        "data": place / "train.csv", "evaluation": place / "report.csv", "text": "text",
        "label": "label", "max_length": 64,
    }  # fmt: skip

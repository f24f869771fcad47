"""The main job on other tasks than classification, on the fake device and, where it is, on real data."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cutonce
from elastic.families import load

TARGET = "fake:3/fake/fp32"
WORDS = ["the", "a", "red", "old", "good", "new", "big", "is", "was", "near"]
TOOLS = ["hammer", "saw", "drill", "chisel"]
REAL = Path(os.environ.get("CUTONCE_DATA", "nothing"))


def sentences(count: int = 160) -> list[list[str]]:
    rng = random.Random(0)
    made = []
    for _ in range(count):
        words = rng.choices(WORDS, k=rng.randint(4, 9))
        for _ in range(rng.randint(0, 2)):
            words.insert(rng.randrange(len(words)), rng.choice(TOOLS))
        made.append(words)
    return made


def tagged() -> list[dict[str, Any]]:
    rows = sentences()
    return [{"text": w, "label": ["B-TOOL" if x in TOOLS else "O" for x in w]} for w in rows]


def counted() -> list[dict[str, Any]]:
    return [{"text": " ".join(w), "label": sum(x in TOOLS for x in w) / 2} for w in sentences()]


@pytest.mark.parametrize(
    ("task", "rows", "headline"),
    [("token-classification", tagged, "entity_f1"), ("regression", counted, "spearman")],
)
def test_another_task_goes_all_the_way(
    task: str,
    rows: Any,
    headline: str,
    tokenizer: Path,
    put_profile: Callable[..., Path],
    tmp_path: Path,
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows())))
    described = {"data": data, "text": "text", "label": "label", "max_length": 32}
    dense = tmp_path / "dense"
    trained = cutonce.train(
        "L1-H32-A4-F64", task=task, tokenizer=tokenizer, **described, out=dense, epochs=8.0,
        learning_rate=3e-3, batch_size=16,
    )  # fmt: skip
    assert next(iter(trained["metrics"]["report"])) == headline
    assert trained["metrics"]["report"][headline] > 0.6
    measured: dict[str, Any] = {"store": tmp_path / "s.sqlite", "visits": 9}
    put_profile(measured["store"], TARGET, around=load(dense).encoder.architecture)
    found = cutonce.search(
        dense, budgets=[f"{TARGET}=0.7x"], **described, length=32, epochs=0.5, **measured,
        out=tmp_path / "run",
    )  # fmt: skip
    assert found["task"]["kind"] == task
    [entry] = found["budgets"]
    assert {headline, "agreement"} <= {*entry["metrics"]["report"]}
    exported = cutonce.export(tmp_path / "run" / entry["subnet"], **measured)
    assert exported["metrics"][headline] == pytest.approx(
        entry["metrics"]["report"][headline], abs=0.01
    )
    checked = cutonce.verify([exported["artifact"]], **measured)
    assert checked["artifacts"][0]["metrics"] == exported["metrics"]
    page = cutonce.report(tmp_path / "run")
    assert headline.replace("_", " ") in Path(page["page"]).read_text()


TEXTS = 600  # that a language model is trained on and judged by
REAL_TASKS: dict[str, dict[str, Any]] = {
    "text-classification": {
        "data": "glue/MRPC/train.tsv", "evaluation": "glue/MRPC/dev.tsv", "text": "#1 String",
        "text_pair": "#2 String", "label": "Quality",
    },
    "regression": {
        "data": "glue/STS-B/train.tsv", "evaluation": "glue/STS-B/dev.tsv", "text": "sentence1",
        "text_pair": "sentence2", "label": "score",
    },
    "token-classification": {
        "data": "ner/wnut17/train.conll", "evaluation": "ner/wnut17/dev.conll", "text": "words",
        "label": "tags",
    },
    "question-answering": {
        "data": "qa/xquad.en.json", "text": "question", "text_pair": "context", "label": "answers",
        "max_length": 256,
    },
    "masked-language-model": {"data": "corpus/wikisplit_tune.txt", "text": "text"},
}  # fmt: skip


@pytest.mark.skipif(not REAL.is_dir(), reason="CUTONCE_DATA names no directory with real data")
@pytest.mark.parametrize("task", REAL_TASKS)
def test_a_task_on_real_data(task: str, tmp_path: Path) -> None:
    described = {"max_length": 64, **REAL_TASKS[task]}
    described |= {key: REAL / described[key] for key in ("data", "evaluation") if key in described}
    if task == "masked-language-model":  # every token is scored over the vocabulary: some texts do
        lines = described["data"].read_text(encoding="utf-8").splitlines()[:TEXTS]
        described["data"] = tmp_path / "texts.txt"
        described["data"].write_text("\n".join(lines), encoding="utf-8")
    # Of so small a language model nearly all the work is the vocabulary's, which is not cut.
    share = 0.97 if task == "masked-language-model" else 0.6
    dense = tmp_path / "dense"
    trained = cutonce.train(
        "L2-H64-A4-F128", task=task, tokenizer=REAL / "vocab_bert_uncased", **described, out=dense,
        epochs=1.0, learning_rate=1e-3,
    )  # fmt: skip
    found = cutonce.search(
        dense, budgets=[f"{TARGET}={share}x"], **described, length=64, post_training=True,
        store=tmp_path / "s.sqlite", out=tmp_path / "run",
    )  # fmt: skip
    [entry] = found["budgets"]
    headline, score = next(iter(trained["metrics"]["report"].items()))
    print(task, headline, score, "cut", entry["metrics"]["report"])
    assert entry["status"] == "met"
    assert entry["metrics"]["report"]["agreement"] > 0.5
    exported = cutonce.export(tmp_path / "run" / entry["subnet"], store=tmp_path / "s.sqlite")
    assert exported["metrics"][headline] == pytest.approx(
        entry["metrics"]["report"][headline], abs=0.01
    )

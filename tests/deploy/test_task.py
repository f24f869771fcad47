from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.architecture import Architecture
from deploy.calibration import calibration_hash
from deploy.task import Task
from devices.errors import DataError, ModelError, UnknownName, UsageError
from devices.runtimes import Arrays

Write = Callable[..., Path]
TEXT = "the a film play book song is was very not so truly good bad great poor fine dull"
WORDS = TEXT.split()


def rows(count: int, start: int = 0) -> list[tuple[str, str]]:
    """Different texts of different lengths; the label is in the first word."""
    made = []
    for i in range(start, start + count):
        tail = [WORDS[i // 18 % 18], WORDS[i // 324 % 18]] + ["so"] * (i % 4)
        made.append((" ".join([WORDS[i % 18], *tail]), "yes" if i % 18 < 9 else "no"))
    return made


@pytest.fixture
def load(table: Write, tokenizer: Path) -> Callable[..., Task]:
    def load(**changes: Any) -> Task:
        given = {"data": table(rows(200)), "text": "text", "label": "label", "tokenizer": tokenizer}
        return Task.load(**{**given, **changes})

    return load


def first_word(batch: Arrays) -> np.ndarray[Any, Any]:
    """Logits (no, yes) by the rule that made the labels: word ids begin at 4."""
    says_yes = batch["input_ids"][:, 1] < 4 + 9
    return np.stack([~says_yes, says_yes], axis=1).astype(float)


def texts_of(task: Task, split: str) -> set[tuple[int, ...]]:
    return {tuple(ids) for ids in task.split(split).tokens.ids}


def test_splits_do_not_overlap(load: Callable[..., Task]) -> None:
    task = load()
    sides = [texts_of(task, name) for name in ("train", "search", "report")]
    assert [len(task.split(name)) for name in ("train", "search", "report")] == [160, 20, 20]
    assert len(set.union(*sides)) == sum(map(len, sides)) == 200
    assert task.label_names == ("no", "yes")


def test_evaluation_file_is_the_report_split(load: Callable[..., Task], table: Write) -> None:
    task = load(evaluation=table(rows(30, start=190), name="e.tsv"))
    assert len(task.split("report")) == 30
    assert len(task.split("train")) + len(task.split("search")) == 190
    assert not texts_of(task, "report") & (texts_of(task, "train") | texts_of(task, "search"))


def test_batches_are_padded_right_and_sorted(load: Callable[..., Task]) -> None:
    task = load()
    batches = task.batches("train", batch_size=16)
    assert [len(batch["input_ids"]) for batch in batches] == [16] * 10
    tokens = task.split("train").tokens
    order = iter(task.order("train"))
    lengths = []
    for batch in batches:
        assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            expected = tokens.ids[next(order)]
            length = int(mask.sum())
            assert ids[:length].tolist() == expected
            assert mask[:length].all()
            assert (ids[length:] == task.pad_id).all()
            lengths.append(length)
        assert batch["input_ids"].shape[1] == lengths[-1]
    assert lengths == sorted(lengths)


def test_limit_draws_the_same_examples(load: Callable[..., Task]) -> None:
    task = load()
    order = task.order("train", 30)
    assert len(set(order)) == 30
    assert np.array_equal(order, load().order("train", 30))
    assert not np.array_equal(np.sort(order), np.arange(30))
    assert sum(len(batch["input_ids"]) for batch in task.batches("train", limit=30)) == 30


def test_pairs_get_token_types_and_are_cut(table: Write, tokenizer: Path) -> None:
    pairs = [(a, b, label) for (a, label), (b, _) in zip(rows(40), rows(40, 40), strict=True)]
    path = table(pairs, header=("a", "b", "label"))
    task = Task.load(
        data=path, text="a", text_pair="b", label="label", tokenizer=tokenizer, max_length=8
    )
    tokens = task.split("train").tokens
    assert tokens.lengths.max() == 8
    for ids, types in zip(tokens.ids, tokens.types, strict=True):
        end = ids.index(3) + 1  # the first [SEP] closes the first text
        assert types == [0] * end + [1] * (len(ids) - end)


def test_outputs_come_back_in_the_order_of_the_split(load: Callable[..., Task]) -> None:
    task = load()
    lengths = task.split("train").tokens.lengths.tolist()
    outputs = task.outputs(lambda batch: batch["attention_mask"].sum(1, keepdims=True), "train")
    assert [int(row[0]) for row in outputs] == lengths
    outputs = task.outputs(lambda batch: batch["input_ids"][..., None], "train")
    assert [row[:, 0].tolist() for row in outputs] == task.split("train").tokens.ids


def test_evaluate(load: Callable[..., Task]) -> None:
    task = load()
    right = task.evaluate(first_word, "report")
    wrong = task.evaluate(lambda batch: -first_word(batch), "report")
    assert (right["accuracy"], right["mcc"], right["n"]) == (1.0, 1.0, 20)
    assert wrong["accuracy"] == 0.0
    reference = task.answers(first_word, "report")
    assert task.evaluate(first_word, "report", reference)["agreement"] == 1.0


def test_without_labels_only_agreement(load: Callable[..., Task]) -> None:
    task = load(label=None)
    reference = task.answers(first_word, "search")
    assert task.evaluate(first_word, "search", reference) == {"agreement": 1.0, "n": 20}
    with pytest.raises(UsageError, match="no labels"):
        task.evaluate(first_word, "search")


def test_the_models_label_order_holds(load: Callable[..., Task], table: Write) -> None:
    task = load(labels=["yes", "no"])
    swapped = task.evaluate(lambda batch: first_word(batch)[:, ::-1], "report")
    assert swapped["accuracy"] == 1.0
    numbered = [(text, str(int(label == "yes"))) for text, label in rows(60)]
    task = load(data=table(numbered, name="n.tsv"), labels=["LABEL_0", "LABEL_1"])
    assert task.evaluate(first_word, "report")["accuracy"] == 1.0
    with pytest.raises(UnknownName, match="label 'no'"):
        load(labels=["yes", "maybe"])


def test_calibration_has_no_padding_and_a_stable_hash(load: Callable[..., Task]) -> None:
    batches = load().calibration(12)
    assert len(batches) == 12
    assert all(batch["attention_mask"].all() for batch in batches)
    assert calibration_hash(batches) == calibration_hash(load().calibration(12))
    assert calibration_hash(batches) != calibration_hash(load(seed=1).calibration(12))


def test_what_does_not_fit_is_refused(load: Callable[..., Task], small: Architecture) -> None:
    task = load(max_length=32)
    task.check_fits(small)
    for change, words in (
        ({"vocabulary": 20}, "produces 24 ids where the model knows 20"),
        ({"positions": 16}, "16 positions"),
        ({"labels": 3}, "2 labels where the model has 3 outputs"),
    ):
        with pytest.raises(ModelError, match=words):
            task.check_fits(replace(small, **change))


def test_refusals(load: Callable[..., Task], tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'text-classification'"):
        load(kind="text-clasification")
    with pytest.raises(UnknownName, match=r"column of .*Did you mean 'label'"):
        load(label="labels")
    with pytest.raises(UnknownName, match="split 'test'"):
        load().batches("test")
    with pytest.raises(ModelError, match="no such directory"):
        load(tokenizer=tmp_path / "nowhere")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(tokenizer=tmp_path)
    with pytest.raises(DataError, match="too few"):
        load(data=_two(tmp_path))


def _two(directory: Path) -> Path:
    path = directory / "two.tsv"
    path.write_text("text\tlabel\nfine film\tyes\ndull film\tno\n")
    return path


def test_json(load: Callable[..., Task]) -> None:
    data = json.loads(json.dumps(load().to_json()))
    assert data["sizes"] == {"train": 160, "search": 20, "report": 20}
    assert (data["text"], data["label"], data["label_names"]) == ("text", "label", ["no", "yes"])


def test_importing_it_is_cheap() -> None:
    code = "import sys, deploy.task, deploy.export_pool, deploy.artifact; print([*sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'deploy.task'" in done.stdout
    assert not any(
        f"'{heavy}'" in done.stdout for heavy in ("torch", "transformers", "onnxruntime")
    )

"""Every kind of task: examples in, labels and answers out, scores known by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.architecture import OUTPUTS
from deploy.kinds import IGNORED, KINDS, kind_of
from deploy.kinds.token_classification import entities
from deploy.task import Task
from devices.errors import DataError, ModelError, UnknownName
from devices.runtimes import Arrays

Load = Callable[..., Task]
NAMES = ["O", "B-PER", "I-PER"]


@pytest.fixture
def load(tokenizer: Path, tmp_path: Path) -> Load:
    """A task of the given rows, all of which make the report split too."""

    def load(kind: str, rows: list[dict[str, Any]], **columns: str) -> Task:
        path = tmp_path / "rows.jsonl"
        held_out = tmp_path / "held_out.jsonl"
        more = [{**row, "text": f"the {row['text']}"} for row in rows] if rows else []
        for file, some in ((path, more), (held_out, rows)):
            file.write_text("\n".join(map(json.dumps, some)))
        given = {"text": "text"} | columns
        return Task.load(
            data=path, evaluation=held_out, tokenizer=tokenizer, kind=kind, max_length=16, **given
        )

    return load


def texts(count: int = 6) -> list[str]:
    words = ["film", "play", "book", "song", "good", "bad"]
    return [f"{words[i % 6]} is very {words[i * 5 % 6]}{' so' * (i // 6)}" for i in range(count)]


def constant(row: np.ndarray) -> Callable[[Arrays], np.ndarray]:
    """A model that gives every example the same outputs."""
    return lambda batch: np.tile(row, (len(batch["input_ids"]), 1))


def test_every_output_has_its_kind() -> None:
    assert {kind_of(output) for output in OUTPUTS} == {*KINDS}
    assert all(kind_of(KINDS.get(name)().output) == name for name in KINDS)


def test_known_scores_of_a_classifier() -> None:
    # Predictions 1 1 0 0 1 against 1 0 0 0 1: one false positive among five.
    kind = KINDS.get("text-classification")()
    scores = kind.scores([1, 1, 0, 0, 1], [1, 0, 0, 0, 1], ("no", "yes"))
    assert scores["accuracy"] == pytest.approx(4 / 5)
    assert scores["macro_f1"] == pytest.approx((4 / 5 + 4 / 5) / 2)
    assert scores["mcc"] == pytest.approx((2 * 2 - 1 * 0) / np.sqrt(3 * 2 * 3 * 2))
    assert scores["n"] == 5
    assert kind.agreement([1, 0], [1, 1]) == {"agreement": 0.5, "n": 2}


def test_labels_that_go_together(load: Load) -> None:
    labels = ["art,old", ["new"], "", "old; new", "art", "art|new"]
    rows = [{"text": text, "tags": tags} for text, tags in zip(texts(), labels, strict=True)]
    task = load("multi-label-classification", rows, label="tags")
    assert task.label_names == ("art", "new", "old")
    report = task.split("report")
    expected = [[1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert report.labels_of(range(6)).tolist() == expected
    scores = task.evaluate(constant(np.array([1.0, -1.0, -1.0])), "report")
    assert scores["exact_match"] == pytest.approx(1 / 6)
    assert scores["micro_f1"] == pytest.approx(2 * 3 / (6 + 8))


def test_numbers(load: Load) -> None:
    rows = [{"text": text, "score": str(i / 2)} for i, text in enumerate(texts())]
    task = load("regression", rows, label="score")
    assert task.split("report").labels_of([1, 3]).tolist() == [0.5, 1.5]
    lengths = iter(np.arange(6.0))
    order = task.order("report").tolist()
    truth = {row: i / 2 for row, i in enumerate(range(6))}
    places = iter(order)

    def predict(batch: Arrays) -> np.ndarray:
        return np.array([[truth[next(places)] ** 3] for _ in batch["input_ids"]])

    scores = task.evaluate(predict, "report")
    assert scores["spearman"] == pytest.approx(1.0)
    assert 0.8 < scores["pearson"] < 1.0
    del lengths
    with pytest.raises(DataError, match="holds 'high' in column 'score'"):
        load("regression", [{"text": "film", "score": "high"}], label="score")


def tagged() -> list[dict[str, Any]]:
    return [
        {"text": ["film", "good", "play"], "tags": ["B-PER", "I-PER", "O"]},
        {"text": "song is bad", "tags": "O O B-PER"},
    ]


def test_tags_stand_at_the_first_token_of_their_word(tokenizer: Path, tmp_path: Path) -> None:
    rows = [
        {"text": f"film {'good ' * i}play", "tags": "B-PER " + "I-PER " * i + "O"}
        for i in range(12)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    task = Task.load(
        data=path, text="text", label="tags", tokenizer=tokenizer, kind="token-classification",
        max_length=8, labels=NAMES,
    )  # fmt: skip
    for name in ("train", "search", "report"):
        split = task.split(name)
        for row, ids in enumerate(split.tokens.ids):
            words = split.encoded.truths[row]
            kept = [NAMES.index(tag) for tag in words][: len(ids) - 2]
            assert split.labels[row] == [IGNORED, *kept, IGNORED]

    def predict(batch: Arrays) -> np.ndarray:
        return np.eye(3)[np.where(batch["input_ids"] == batch["input_ids"][:, 1:2], 1, 0)]

    answers = task.answers(predict, "train")
    longest = max(answers, key=len)
    assert longest[0] == 1
    assert longest[-1] == -1  # beyond the model's length
    uneven = [{"text": "film play", "tags": "O"}] * 3
    path.write_text(
        "\n".join(json.dumps({**row, "text": f"{i} film"}) for i, row in enumerate(uneven))
    )
    with pytest.raises(DataError, match="2 words and 1 tags"):
        Task.load(
            data=path, text="text", label="tags", tokenizer=tokenizer, kind="token-classification",
            labels=NAMES,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-PER I-PER O B-LOC", [(0, 2, "PER"), (3, 4, "LOC")]),
        ("I-PER I-PER B-PER I-LOC", [(0, 2, "PER"), (2, 3, "PER"), (3, 4, "LOC")]),
        ("S-PER B-LOC E-LOC O", [(0, 1, "PER"), (1, 3, "LOC")]),
        ("O O", []),
    ],
)
def test_entities(tags: str, expected: list[tuple[int, int, str]]) -> None:
    assert list(entities(tags.split())) == expected


def test_an_entity_counts_whole_or_not_at_all() -> None:
    kind = KINDS.get("token-classification")()
    truths = [["B-PER", "I-PER", "O"], ["O", "B-PER", "O"]]
    scores = kind.scores([[1, 0, 0], [0, 1, -1]], truths, NAMES)
    assert scores["entity_f1"] == pytest.approx(0.5)
    assert scores["tag_accuracy"] == pytest.approx(5 / 6)


def test_an_answer_is_a_span_of_the_context(tokenizer: Path, tmp_path: Path) -> None:
    context = "film is good play is bad song"
    rows = [
        {
            "question": f"is film {word}",
            "context": context,
            "answers": {"text": ["good play"], "answer_start": [8]},
        }
        for word in ["the", "a", "was", "very", "not", "so", "truly"]
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    asked = {"text": "question", "text_pair": "context", "label": "answers"}
    task = Task.load(data=path, tokenizer=tokenizer, kind="question-answering", **asked)
    split = task.split("train")
    start, end = split.labels[0]

    def predict(batch: Arrays) -> np.ndarray:
        scores = np.zeros((*batch["input_ids"].shape, 2))
        scores[:, start, 0] = scores[:, end, 1] = 5.0
        scores[:, 1, 0] = 9.0  # in the question, where no answer is
        return scores

    assert task.answers(predict, "train") == ["good play"] * len(split)
    assert task.evaluate(predict, "train")["exact_match"] == 1.0
    short = Task.load(
        data=path, tokenizer=tokenizer, kind="question-answering", max_length=9, **asked
    )
    assert short.split("train").labels[0] == [0, 0]  # cut off
    assert short.split("train").tokens.lengths.max() == 9


def test_known_scores_of_answers() -> None:
    kind = KINDS.get("question-answering")()
    scores = kind.scores(["The good, play", "bad song", ""], [["good play"], ["song"], []], ())
    assert scores["exact_match"] == pytest.approx(2 / 3)
    assert scores["f1"] == pytest.approx((1 + 2 / 3 + 1) / 3)


def test_a_kind_without_labels_says_so(load: Load) -> None:
    rows = [{"text": text, "label": "x"} for text in texts()]
    with pytest.raises(DataError, match="needs no --label"):
        load("text-embedding", rows, label="label")
    with pytest.raises(UnknownName, match="text-classification"):
        load("text-clasification", rows)
    with pytest.raises(ModelError, match="no mask token"):
        load("masked-language-model", rows)


def test_an_embedding_is_held_against_another(load: Load) -> None:
    task = load("text-embedding", [{"text": text} for text in texts()])
    reference = task.answers(constant(np.array([1.0, 0.0])), "report")
    scores = task.evaluate(constant(np.array([1.0, 1.0])), "report", reference)
    assert scores == {"cosine": pytest.approx(0.5**0.5), "n": 6}


def test_hidden_tokens_are_named(tokenizer: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tokenizer)
    loaded.add_special_tokens({"mask_token": "[MASK]"})
    loaded.save_pretrained(tmp_path / "masking")
    path = tmp_path / "rows.txt"
    path.write_text("\n".join(texts(30)))
    task = Task.load(
        data=path, text="text", tokenizer=tmp_path / "masking", kind="masked-language-model"
    )
    split = task.split("train")
    for row, ids in enumerate(split.tokens.ids):
        places, truth = split.encoded.notes[row], split.encoded.truths[row]
        assert [ids[place] for place in places] == [loaded.mask_token_id] * len(places)
        assert [split.labels[row][place] for place in places] == truth
        assert sum(label != IGNORED for label in split.labels[row]) == len(places) >= 1
        assert 0 not in places
        assert len(ids) - 1 not in places

    def knows(batch: Arrays) -> np.ndarray:
        return np.eye(30)[np.full_like(batch["input_ids"], truth[0])]

    assert 0 < task.evaluate(knows, "train")["masked_accuracy"] < 1

"""Extractive question answering: the answer is a span of the context.

Source: Rajpurkar et al. 2016 (arXiv 1606.05250) for the metrics; Devlin et al. 2019 (arXiv 1810.04805)
§4.2 for the head: the best span by the sum of both scores.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy.examples import Examples
from deploy.kinds import Array, Encoded
from deploy.tokens import Tokens

LONGEST = 30  # tokens of an answer
_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True)
class Context:
    """Where the tokens of a context are in it.

    Attributes:
        offsets: [tokens, 2] first character and the one after the last; of tokens that are not of the
            context -1.
    """

    text: str
    offsets: Array


class QuestionAnswering:
    """Exact match and F1 of words, the best over all answers that are right.

    What lies beyond the model's length cannot be found; such an answer is trained as the first token.
    """

    output = "question-answering"

    def read_text(self, cell: Any) -> str:
        return str(cell)

    def read_label(self, cell: Any) -> dict[str, list[Any]]:
        """``{"text": [...], "answer_start": [...]}`` as SQuAD has it."""
        if not isinstance(cell, Mapping) or not {"text", "answer_start"} <= {*cell}:
            raise ValueError("expected answers with text and answer_start, as SQuAD has them")
        return {"text": list(cell["text"]), "answer_start": [int(i) for i in cell["answer_start"]]}

    def name_labels(self, _labels: Sequence[Any]) -> tuple[str, ...]:
        return ("start", "end")

    def encode(
        self,
        tokenizer: Any,
        examples: Examples,
        _names: Sequence[str],
        max_length: int,
        _seed: int,
    ) -> Encoded:
        questions, contexts = (list(part) for part in zip(*examples.texts, strict=True))
        encoded = tokenizer(
            questions,
            contexts,
            truncation="only_second",
            max_length=max_length,
            return_token_type_ids=True,
            return_offsets_mapping=True,
        )
        notes = []
        for row, offsets in enumerate(encoded["offset_mapping"]):
            of_context = np.array([part == 1 for part in encoded.sequence_ids(row)])
            notes.append(Context(contexts[row], np.where(of_context[:, None], offsets, -1)))
        tokens = Tokens(encoded["input_ids"], encoded["token_type_ids"])
        if examples.labels is None:
            return Encoded(tokens, None, None, notes)
        pairs = zip(examples.labels, notes, strict=True)
        labels = [_place(label, note) for label, note in pairs]
        return Encoded(tokens, labels, [label["text"] for label in examples.labels], notes)

    def answer(self, outputs: Array, note: Context) -> str:
        places = np.flatnonzero(note.offsets[:, 0] >= 0)
        if not len(places):
            return ""
        start, end = outputs[places, 0], outputs[places, 1]
        sums = start[:, None] + end[None, :]
        lengths = places[None, :] - places[:, None]
        sums[(lengths < 0) | (lengths >= LONGEST)] = -np.inf
        first, last = np.unravel_index(int(sums.argmax()), sums.shape)
        begin, after = note.offsets[places[first], 0], note.offsets[places[last], 1]
        return note.text[begin:after]

    def scores(
        self,
        answers: Sequence[str],
        truths: Sequence[list[str]],
        _names: Sequence[str],
    ) -> dict[str, float]:
        pairs = [(a, some or [""]) for a, some in zip(answers, truths, strict=True)]
        return {
            "f1": float(np.mean([max(_f1(a, true) for true in some) for a, some in pairs])),
            "exact_match": float(np.mean([any(_same(a, t) for t in some) for a, some in pairs])),
            "n": len(pairs),
        }

    def agreement(self, answers: Sequence[str], reference: Sequence[str]) -> dict[str, float]:
        same = [_same(a, b) for a, b in zip(answers, reference, strict=True)]
        return {"agreement": float(np.mean(same)), "n": len(same)}


def _place(label: Mapping[str, list[Any]], context: Context) -> list[int]:
    """The first and the last token of the first answer; the first of all where there is none here."""
    if not label["text"]:
        return [0, 0]
    begin = label["answer_start"][0]
    after = begin + len(label["text"][0])
    inside = np.flatnonzero((context.offsets[:, 0] < after) & (context.offsets[:, 1] > begin))
    whole = len(inside) and context.offsets[:, 1].max() >= after
    return [int(inside[0]), int(inside[-1])] if whole else [0, 0]


def _words(text: str) -> list[str]:
    bare = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return _ARTICLES.sub(" ", bare).split()


def _same(first: str, second: str) -> bool:
    return _words(first) == _words(second)


def _f1(answer: str, true: str) -> float:
    found, wanted = _words(answer), _words(true)
    if not found or not wanted:
        return float(found == wanted)
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted))

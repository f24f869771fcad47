"""Token classification: each word of a text has a tag, and runs of tags are entities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from deploy.examples import Examples
from deploy.kinds import IGNORED, Array, Encoded
from deploy.labels import number_labels
from deploy.tokens import Tokens
from devices.errors import DataError

OUTSIDE = "O"
Entity = tuple[int, int, str]
"""First word, the word after its last, type."""


class TokenClassification:
    """F1 of entities, exact in extent and type as in CoNLL, and the share of words with their tag.

    A word is tagged by its first token; words beyond the model's length count as outside.
    """

    output = "token-classification"

    def read_text(self, cell: Any) -> tuple[str, ...]:
        """A list of words, or text with blanks between them."""
        return tuple(cell.split() if isinstance(cell, str) else map(str, cell))

    def read_label(self, cell: Any) -> list[str]:
        return cell.split() if isinstance(cell, str) else [str(tag) for tag in cell]

    def name_labels(self, labels: Sequence[list[str]]) -> tuple[str, ...]:
        return tuple(sorted({tag for tags in labels for tag in tags}, key=_outside_first))

    def encode(
        self,
        tokenizer: Any,
        examples: Examples,
        names: Sequence[str],
        max_length: int,
        _seed: int,
    ) -> Encoded:
        words = [text for (text,) in examples.texts]
        encoded = tokenizer(
            [" ".join(some) for some in words],
            truncation=True,
            max_length=max_length,
            return_token_type_ids=True,
            return_offsets_mapping=True,
        )
        tokens = Tokens(encoded["input_ids"], encoded["token_type_ids"])
        places = [
            _first_tokens(offsets, some)
            for offsets, some in zip(encoded["offset_mapping"], words, strict=True)
        ]
        if examples.labels is None:
            return Encoded(tokens, None, None, places)
        labels = []
        for row, (tags, where) in enumerate(zip(examples.labels, places, strict=True)):
            if len(tags) != len(where):
                raise DataError(
                    f"Example {row + 1} has {len(where)} words and {len(tags)} tags; give one for each."
                )
            labels.append(_per_token(number_labels(tags, names), where, len(tokens.ids[row])))
        return Encoded(tokens, labels, examples.labels, places)

    def answer(self, outputs: Array, note: list[int]) -> list[int]:
        """The tag's number for every word, -1 where it is beyond the model's length."""
        tags = outputs.argmax(-1)
        return [int(tags[place]) if place >= 0 else -1 for place in note]

    def scores(
        self,
        answers: Sequence[list[int]],
        truths: Sequence[list[str]],
        names: Sequence[str],
    ) -> dict[str, float]:
        found = [[names[tag] if tag >= 0 else OUTSIDE for tag in tags] for tags in answers]
        pairs = list(zip(found, truths, strict=True))
        one, two = ([{*entities(tags)} for tags in some] for some in (found, truths))
        right = sum(len(a & b) for a, b in zip(one, two, strict=True))
        given, wanted = sum(map(len, one)), sum(map(len, two))
        words = sum(map(len, truths))
        same = sum(a == b for tags, true in pairs for a, b in zip(tags, true, strict=True))
        return {
            "entity_f1": 2 * right / max(given + wanted, 1),
            "entity_precision": right / max(given, 1),
            "entity_recall": right / max(wanted, 1),
            "tag_accuracy": same / max(words, 1),
            "n": len(truths),
        }

    def agreement(
        self, answers: Sequence[list[int]], reference: Sequence[list[int]]
    ) -> dict[str, float]:
        """Share of words with the other model's tag."""
        same = np.concatenate(list(map(np.asarray, answers))) == np.concatenate(
            list(map(np.asarray, reference))
        )
        return {"agreement": float(same.mean()), "n": len(answers)}


def entities(tags: Sequence[str]) -> Iterator[Entity]:
    """Entities of one text, tagged by IOB1, IOB2 or BIOES (Ramshaw & Marcus 1995, cmp-lg/9505040): one
    begins at B, at S, and wherever the type changes."""
    begin, kind = 0, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        mark, _, type_ = tag.partition("-")
        type_ = "" if mark == OUTSIDE else type_ or mark
        if kind and (type_ != kind or mark in ("B", "S")):
            yield begin, place, kind
            kind = ""
        if type_ and not kind:
            begin, kind = place, type_
        if kind and mark in ("E", "S"):
            yield begin, place + 1, kind
            kind = ""


def _outside_first(tag: str) -> tuple[bool, str]:
    return tag != OUTSIDE, tag


def _first_tokens(offsets: Sequence[tuple[int, int]], words: Sequence[str]) -> list[int]:
    """The place of every word's first token, -1 where it was cut off.

    Args:
        offsets: the first character of every token and the one after its last, in the words with blanks
            between them; a token may begin with the blank before its word.
    """
    begins = np.cumsum([0, *(len(word) + 1 for word in words)])
    places = [-1] * len(words)
    for place, (start, end) in enumerate(offsets):
        word = int(np.searchsorted(begins, end - 1, "right")) - 1
        if end > start and places[word] < 0:
            places[word] = place
    return places


def _per_token(tags: Array, places: Sequence[int], length: int) -> list[int]:
    labels = [IGNORED] * length
    for tag, place in zip(tags.tolist(), places, strict=True):
        if place >= 0:
            labels[place] = tag
    return labels

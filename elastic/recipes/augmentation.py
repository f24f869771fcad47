"""More examples to train on: words of those there are, replaced by what could stand in their place.

Source: Jiao et al. 2020 (TinyBERT, arXiv 1909.10351), algorithm 1. For every word that means something
there are candidates: of a word of one piece the likeliest that a masked language model has for its
place, given the text with the word masked and the text as it is; of a word of several pieces the
nearest word vectors.
Every copy of an example has each of its words replaced with a probability of 0.4, by any of its
candidates. Without a language model the candidates of one piece are the nearest rows of the trained
model's own table of tokens; without vectors words of several pieces stay.

Labels are those of the example that was copied; a teacher answers every copy anew. Of a pair of texts
each is varied, where the released code lets the first stay at its last copy when the second is varied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from deploy.encoder import Encoder
from deploy.kinds import Encoded, kind_of
from deploy.task import Split, Task
from deploy.tokens import Tokens, load_tokenizer
from devices.errors import DataError, ModelError, UsageError

CANDIDATES, REPLACED = 15, 0.4
VECTORS = 100_000  # of a file, from the first on
BATCH = 64  # texts per call of the language model
KINDS = ("text-classification", "regression", "multi-label")  # whose labels are of whole texts
_STOP = """a an and are as at be been but by can could did do does for from had has have he her his i
if in into is it its me my not of on or our she so than that the their them then there these they this
those to was we were what when which who will with would you your"""
STOP = frozenset(_STOP.split())

Progress = Callable[[int, int], None]


class Word(NamedTuple):
    """Tokens from ``begin`` to before ``end`` of one example."""

    begin: int
    end: int


class Pieces:
    """What the tokens of a tokenizer are to words."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        named = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        special = set(tokenizer.all_special_tokens)
        marks = [mark for mark in ("Ġ", "▁") if any(name.startswith(mark) for name in named)]
        bare = [name.lstrip("Ġ▁").removeprefix("##") for name in named]
        self.inside = np.array(
            [
                name not in special
                and (not name.startswith(tuple(marks)) if marks else name.startswith("##"))
                for name in named
            ]
        )
        self.plain = np.array(
            [
                name not in special and text.isalpha() and text.lower() not in STOP
                for name, text in zip(named, bare, strict=True)
            ]
        )
        self.whole = self.plain & ~self.inside

    def words(self, ids: Sequence[int]) -> Iterator[Word]:
        """Those of an example that mean something."""
        begin = 0
        while begin < len(ids):
            end = begin + 1
            while end < len(ids) and self.inside[ids[end]]:
                end += 1
            if self.plain[ids[begin]] and not self.inside[ids[begin]]:
                yield Word(begin, end)
            begin = end


@dataclass(frozen=True)
class Sources:
    """Where candidates come from.

    Attributes:
        table: of tokens of the model that is trained. language_model: with the same tokenizer.
        vectors: words, and their vectors of length 1 [words, dimensions].
    """

    pieces: Pieces
    table: torch.Tensor
    language_model: Encoder | None = None
    vectors: tuple[Sequence[str], np.ndarray] | None = None


def augmented(
    task: Task, sources: Sources, *, copies: int, seed: int = 0, progress: Progress | None = None
) -> Task:
    """``task`` with up to ``copies`` more of every example of its train split, each different.

    Raises UsageError for a kind of task whose labels are not of whole texts, and where there are no
    copies.
    """
    if task.kind not in KINDS:
        raise UsageError(
            f"A task of {task.kind} cannot be augmented: its labels are not of whole texts; leave out "
            "--augment."
        )
    if copies < 1:
        raise UsageError(f"There must be at least 1 copy, not {copies}.")
    split = task.split("train")
    candidates = _candidates(split.tokens, sources, progress)
    rng = np.random.default_rng(seed)
    tokens, rows = Tokens(list(split.tokens.ids), list(split.tokens.types)), list(range(len(split)))
    for row, some in enumerate(candidates):
        ids, types = split.tokens.ids[row], split.tokens.types[row]
        told = {tuple(ids)}
        for _ in range(copies):
            copy = _replaced(ids, types, some, rng, task.max_length)
            if tuple(copy[0]) not in told:
                told.add(tuple(copy[0]))
                tokens.ids.append(copy[0])
                tokens.types.append(copy[1])
                rows.append(row)
    labels, truths = (_repeated(some, rows) for some in (split.labels, split.encoded.truths))
    train = Split(Encoded(tokens, labels, truths))
    return replace(task, splits={**task.splits, "train": train})


def read_vectors(path: Path) -> tuple[list[str], np.ndarray]:
    """Words and their vectors, each of length 1, of a text file as GloVe and word2vec have them: a word
    and its numbers per line.

    Raises DataError where it is none.
    """
    words, vectors = [], []
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                word, *numbers = line.rstrip().split(" ")
                if len(numbers) < 2:  # word2vec's first line counts what follows
                    continue
                words.append(word)
                vectors.append(np.array(numbers, dtype=np.float32))
                if len(words) == VECTORS:
                    break
        found = np.stack(vectors)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} holds no word vectors ({error}); expected a word and its numbers per line."
        ) from error
    return words, found / np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-12)


def check_language_model(encoder: Encoder, source: str) -> None:
    """Raises ModelError where ``encoder`` is no masked language model."""
    if encoder.architecture.output != "masked-language-model":
        raise ModelError(
            f"{source} is for {kind_of(encoder.architecture.output)}, not a masked language model; name "
            "one, or leave it out."
        )


def check_same_tokenizer(one: Path | str, other: Path | str) -> None:
    """Raises ModelError where token ids of ``one`` mean something else in ``other``."""
    if load_tokenizer(one).get_vocab() != load_tokenizer(other).get_vocab():
        raise ModelError(
            f"The language model's tokenizer in {other} has another vocabulary than {one}; use a masked "
            "language model of the same family, or leave it out."
        )


Choices = dict[Word, list[list[int]]]
"""Of every word what may take its place."""


def _candidates(tokens: Tokens, sources: Sources, progress: Progress | None) -> Iterator[Choices]:
    """Of every example."""
    near = cache(Near(sources))
    vectors = cache(lambda word: _nearest_words(word, sources))
    pieces = sources.pieces
    for row, ids in enumerate(tokens.ids):
        found: Choices = {}
        words = list(pieces.words(ids))
        single = [word for word in words if word.end == word.begin + 1]
        if sources.language_model is None:
            found |= {word: near(ids[word.begin]) for word in single}
        elif single:
            found |= dict(zip(single, _likeliest(ids, single, sources), strict=True))
        if sources.vectors is not None:
            for word in words:
                if word.end > word.begin + 1:
                    found[word] = vectors(pieces.tokenizer.decode(ids[word.begin : word.end]))
        if progress is not None:
            progress(row + 1, len(tokens.ids))
        yield {word: some for word, some in found.items() if some}


def _likeliest(
    ids: Sequence[int], words: Sequence[Word], sources: Sources
) -> Iterator[list[list[int]]]:
    """What the language model has for each of ``words``, all of one piece."""
    model, tokenizer = sources.language_model, sources.pieces.tokenizer
    assert model is not None
    rest = list(ids[1:])  # the second text, without what begins the first
    room = model.architecture.positions - len(ids)
    given = torch.tensor([[*ids, *rest[:room]]]).repeat(len(words), 1)
    types = torch.tensor([0] * len(ids) + [1] * min(room, len(rest))).expand_as(given)
    places = torch.tensor([word.begin for word in words])
    given[torch.arange(len(words)), places] = tokenizer.mask_token_id
    allowed = torch.from_numpy(sources.pieces.whole)
    for at in range(0, len(words), BATCH):
        some = slice(at, at + BATCH)
        with torch.inference_mode():
            logits = model(given[some], torch.ones_like(given[some]), types[some])
        scores = logits[torch.arange(len(logits)), places[some]]
        scores = scores.masked_fill(~allowed, -torch.inf)
        for best in scores.topk(CANDIDATES).indices.tolist():
            yield [[token] for token in best]


class Near:
    """The tokens whose rows of the table are most like one's."""

    def __init__(self, sources: Sources) -> None:
        self._table = sources.table
        self._tokens = torch.from_numpy(sources.pieces.whole).nonzero().squeeze(1)
        self._rows = torch.nn.functional.normalize(sources.table[self._tokens], dim=1)

    def __call__(self, token: int) -> list[list[int]]:
        alike = self._rows @ self._table[token]
        alike[self._tokens == token] = -torch.inf
        count = min(CANDIDATES, int(alike.isfinite().sum()))
        return [[other] for other in self._tokens[alike.topk(count).indices].tolist()]


def _nearest_words(word: str, sources: Sources) -> list[list[int]]:
    """The words whose vectors are most like this one's, as tokens."""
    assert sources.vectors is not None
    words, vectors = sources.vectors
    if word not in words:
        return []
    alike = vectors @ vectors[words.index(word)]
    best = np.argsort(-alike)[1 : CANDIDATES + 1]
    tokenizer = sources.pieces.tokenizer
    return [tokenizer(words[i], add_special_tokens=False)["input_ids"] for i in best]


def _replaced(
    ids: Sequence[int],
    types: Sequence[int],
    candidates: Choices,
    rng: np.random.Generator,
    most: int,
) -> tuple[list[int], list[int]]:
    """A copy of an example, its last token being kept where it grows too long."""
    found, kinds, done = [], [], 0
    for word, some in sorted(candidates.items()):
        if rng.random() >= REPLACED:
            continue
        chosen = some[int(rng.integers(len(some)))]
        found += [*ids[done : word.begin], *chosen]
        kinds += [*types[done : word.begin], *[types[word.begin]] * len(chosen)]
        done = word.end
    found, kinds = [*found, *ids[done:]], [*kinds, *types[done:]]
    if len(found) > most:
        found, kinds = [*found[: most - 1], found[-1]], [*kinds[: most - 1], kinds[-1]]
    return found, kinds


def _repeated(some: Any, rows: Sequence[int]) -> Any:
    if some is None:
        return None
    return some[rows] if isinstance(some, np.ndarray) else [some[row] for row in rows]

"""Task: the data a model is compressed for, its splits, tokens and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.architecture import Architecture
from deploy.datafiles import resolve
from deploy.examples import Examples, read_examples
from deploy.kinds import IGNORED, KINDS, Encoded, Kind, kind_of
from deploy.splits import divide
from deploy.tokens import Tokens, load_tokenizer
from devices.errors import ModelError, UnknownName, UsageError
from devices.runtimes import Arrays

Predict = Callable[[Arrays], np.ndarray[Any, Any]]
"""A batch's inputs to its outputs [batch, …], as :meth:`deploy.encoder.Encoder.forward`."""


@dataclass(frozen=True, eq=False)
class Split:
    """Examples of one split, in file order; see :class:`deploy.kinds.Encoded`."""

    encoded: Encoded

    @property
    def tokens(self) -> Tokens:
        return self.encoded.tokens

    @property
    def labels(self) -> Sequence[Any] | np.ndarray[Any, Any] | None:
        return self.encoded.labels

    def labels_of(self, rows: Sequence[int]) -> np.ndarray[Any, Any]:
        """Labels of ``rows``: [rows], or [rows, the most of any], filled up with -100.

        Raises UsageError where there are none.
        """
        if self.labels is None:
            raise UsageError("The data has no labels; name their column.")
        chosen = [np.atleast_1d(np.asarray(self.labels[row])) for row in rows]
        found = np.full((len(rows), max(map(len, chosen))), IGNORED, dtype=chosen[0].dtype)
        for line, values in zip(found, chosen, strict=True):
            line[: len(values)] = values
        return found[:, 0] if np.ndim(self.labels[rows[0]]) == 0 else found

    def __len__(self) -> int:
        return len(self.tokens.ids)


@dataclass(frozen=True, eq=False)
class Task:
    """Data for one model: three splits that never overlap, tokenised once.

    Attributes:
        kind: a name of :data:`KINDS`.
        splits: ``train``, ``search`` and ``report``.
        label_names: in the order of the model's outputs; empty without labels.
        tokenizer: where the tokenizer was read from.
        tokenizer_size: number of ids it may produce.
        pad_id: the id that fills up short rows, where the mask is 0.
        max_length: tokens kept per example, special tokens included.
        seed: of the splits and of every random choice below.
        source: files, columns and the digests of what was read, for :meth:`to_json`.
    """

    kind: str
    splits: Mapping[str, Split]
    label_names: tuple[str, ...]
    tokenizer: str
    tokenizer_size: int
    pad_id: int
    max_length: int
    seed: int
    source: Mapping[str, Any]

    @classmethod
    def load(
        cls,
        *,
        data: str | Path,
        text: str,
        label: str | None = None,
        text_pair: str | None = None,
        evaluation: str | Path | None = None,
        tokenizer: Path | str,
        labels: Sequence[str] | None = None,
        max_length: int = 128,
        seed: int = 0,
        kind: str = "text-classification",
    ) -> Task:
        """Read, divide and tokenise.

        Args:
            data: a file or ``hub:NAME[:CONFIG[:SPLIT]]``, see :func:`deploy.datafiles.read_table`.
            text, text_pair, label: columns, by name, or by number from 0 where a TSV or CSV has no
                header line. Without ``label`` only agreement with the dense model can be scored.
            evaluation: becomes the report split; without it a tenth of ``data`` does.
            tokenizer: a directory with a fast tokenizer, or a hub name.
            labels: the model's label names in the order of its outputs. Without them the labels are
                the sorted different values of the data.

        Raises:
            UnknownName: a kind, column or label that is not known.
            DataError: a file that cannot be read, or an example without text or label.
            ModelError: the tokenizer cannot be loaded.
        """
        if kind not in KINDS:
            raise UnknownName("task", kind, KINDS)
        reader: Kind = KINDS.get(kind)()
        columns = [text] if text_pair is None else [text, text_pair]

        def read(file: str | Path) -> Examples:
            return read_examples(file, columns, label, reader.read_text, reader.read_label)

        examples, held_out = read(data), None if evaluation is None else read(evaluation)
        parts = _divide(examples, held_out, seed)
        if labels is None and label is not None:
            labels = reader.name_labels([v for part in parts.values() for v in part.labels or ()])
        names = tuple(labels or ())
        loaded = load_tokenizer(tokenizer)
        source = {
            "data": resolve(data),
            "evaluation": None if evaluation is None else resolve(evaluation),
            "digest": [part.digest for part in (examples, held_out) if part is not None],
            "text": text,
            "text_pair": text_pair,
            "label": label,
            "rows": len(examples) + (0 if held_out is None else len(held_out)),
        }
        return cls(
            kind=kind,
            splits={
                name: Split(reader.encode(loaded, part, names, max_length, seed))
                for name, part in parts.items()
            },
            label_names=names,
            tokenizer=str(tokenizer),
            tokenizer_size=len(loaded),
            pad_id=loaded.pad_token_id or 0,
            max_length=max_length,
            seed=seed,
            source=source,
        )

    @property
    def labelled(self) -> bool:
        """Whether there are labels to score against; without them only agreement can be."""
        return self.split("report").encoded.truths is not None

    @property
    def output(self) -> str:
        """What the outputs of a model for this task mean, as an Architecture calls it."""
        return self._kind().output

    def check_fits(self, architecture: Architecture) -> None:
        """Raises ModelError where ids, length or labels exceed what ``architecture`` takes."""
        if self.tokenizer_size > architecture.vocabulary:
            raise ModelError(
                f"Tokenizer {self.tokenizer} produces {self.tokenizer_size} ids where the model "
                f"knows {architecture.vocabulary}; use the tokenizer it was trained with."
            )
        if self.max_length > architecture.positions:
            raise ModelError(
                f"Texts of up to {self.max_length} tokens exceed the model's "
                f"{architecture.positions} positions; lower --max-length to that."
            )
        if kind_of(architecture.output) != self.kind:
            raise ModelError(
                f"The model's outputs are for {kind_of(architecture.output)}, the task is "
                f"{self.kind}; train the model on this task first."
            )
        if self.label_names and len(self.label_names) != architecture.labels:
            raise ModelError(
                f"The task has {len(self.label_names)} labels where the model has "
                f"{architecture.labels} outputs; train the model on this task first."
            )

    def order(self, split: str, limit: int | None = None) -> np.ndarray[Any, Any]:
        """Numbers of the examples that :meth:`batches` holds, in its order: by length.

        With a ``limit``, so many examples drawn without replacement, always the same ones.
        """
        lengths = self.split(split).tokens.lengths
        rows = np.arange(len(lengths))
        if limit is not None and limit < len(rows):
            rows = np.sort(np.random.default_rng(self.seed).permutation(rows)[:limit])
        return rows[np.argsort(lengths[rows], kind="stable")]

    def batches(self, split: str, batch_size: int = 32, limit: int | None = None) -> list[Arrays]:
        """Inputs as int64 [batch, longest of the batch], padded on the right.

        Examples come in the order of :meth:`order`, which saves padding.
        """
        tokens = self.split(split).tokens
        order = self.order(split, limit)
        return [
            tokens.padded(order[start : start + batch_size], self.pad_id)
            for start in range(0, len(order), batch_size)
        ]

    def outputs(self, predict: Predict, split: str) -> list[np.ndarray[Any, Any]]:
        """``predict``'s outputs for every example, without padding, in the order of the split."""
        found = dict(self._each(predict, split))
        return [found[row] for row in range(len(found))]

    def answers(self, predict: Predict, split: str) -> list[Any]:
        """What ``predict`` answers for every example, as the kind of task reads its outputs."""
        kind, notes = self._kind(), self.split(split).encoded.notes
        found = {
            row: kind.answer(outputs, None if notes is None else notes[row])
            for row, outputs in self._each(predict, split)
        }
        return [found[row] for row in range(len(found))]

    def evaluate(
        self, predict: Predict, split: str, reference: Sequence[Any] | None = None
    ) -> dict[str, float]:
        """Scores on one split: the task's metrics where the data has labels, and the agreement with
        ``reference``, the dense model's :meth:`answers` on the same split, where given.

        Raises UsageError when there is neither.
        """
        truths = self.split(split).encoded.truths
        if truths is None and reference is None:
            raise UsageError(
                "This task has no labels; name their column, or give a reference's answers."
            )
        kind, answers = self._kind(), self.answers(predict, split)
        scores = {} if truths is None else kind.scores(answers, truths, self.label_names)
        return scores if reference is None else {**scores, **kind.agreement(answers, reference)}

    def _kind(self) -> Kind:
        kind: Kind = KINDS.get(self.kind)()
        return kind

    def _each(self, predict: Predict, split: str) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
        """Examples' numbers with their outputs, in the order of :meth:`order`."""
        order = iter(self.order(split).tolist())
        for batch in self.batches(split):
            outputs, lengths = predict(batch), batch["attention_mask"].sum(-1)
            for row, length in zip(outputs, lengths, strict=True):
                yield next(order), row[:length] if row.ndim > 1 else row

    def calibration(self, count: int = 128) -> list[Arrays]:
        """``count`` training examples, one per batch so that no padding enters the statistics."""
        return self.batches("train", batch_size=1, limit=count)

    def split(self, name: str) -> Split:
        """Raises UnknownName for anything but ``train``, ``search`` and ``report``."""
        if name not in self.splits:
            raise UnknownName("split", name, self.splits)
        return self.splits[name]

    def to_json(self) -> dict[str, Any]:
        """Files and what they hold, columns, sizes, seed and labels: what tells tasks apart."""
        return {
            "schema": 1,
            "kind": self.kind,
            **self.source,
            "sizes": {name: len(split) for name, split in self.splits.items()},
            "label_names": list(self.label_names),
            "tokenizer": self.tokenizer,
            "max_length": self.max_length,
            "seed": self.seed,
        }


def _divide(examples: Examples, held_out: Examples | None, seed: int) -> dict[str, Examples]:
    rows = divide(examples.texts, seed, None if held_out is None else held_out.texts)
    parts = {name: examples.take(chosen) for name, chosen in rows.items()}
    return parts if held_out is None else parts | {"report": held_out}

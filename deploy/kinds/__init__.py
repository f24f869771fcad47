"""Kinds of task: how examples are read and tokenised, how outputs are answers, how answers are scored.

In scope: one file per kind. Out of scope: splits and batches (deploy.task), losses (elastic.outputs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from deploy.examples import Examples
from deploy.tokens import Tokens
from devices.registry import Registry

IGNORED = -100
"""The label of a choice that is not scored, as torch has it."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Tokenised examples.

    Attributes:
        labels: per example, in a sequence or an array, what training wants, None without labels: a class,
            a number, or a list of classes, one for each choice (elastic.outputs) or for each token.
        truths: per example what answers are scored against, None without labels.
        notes: per example what its answer is read with, None where nothing is needed.
    """

    tokens: Tokens
    labels: Sequence[Any] | Array | None
    truths: Sequence[Any] | Array | None
    notes: Sequence[Any] | None = None


class Kind(Protocol):
    """One kind of task.

    Attributes:
        output: what the outputs of its models mean, as an Architecture calls it.
    """

    output: str

    def read_text(self, cell: Any, /) -> Any:
        """A cell of a text column."""
        ...

    def read_label(self, cell: Any, /) -> Any:
        """A cell of the label column, as it was read. Raises ValueError where it is no label."""
        ...

    def name_labels(self, labels: Sequence[Any], /) -> tuple[str, ...]:
        """Names for the model's outputs, from all labels of the data; empty where it has none."""
        ...

    def encode(
        self,
        tokenizer: Any,
        examples: Examples,
        names: Sequence[str],
        max_length: int,
        seed: int,
        /,
    ) -> Encoded:
        """Tokenise, and number the labels by ``names``."""
        ...

    def answer(self, outputs: Array, note: Any, /) -> Any:
        """What a model's outputs for one example, without padding, come to."""
        ...

    def scores(
        self, answers: Sequence[Any], truths: Any, names: Sequence[str], /
    ) -> dict[str, float]:
        """Metrics; the first is the one to quote."""
        ...

    def agreement(self, answers: Sequence[Any], reference: Sequence[Any], /) -> dict[str, float]:
        """How far the answers are those of another model."""
        ...


KINDS = Registry(
    "task",
    {
        "text-classification": "deploy.kinds.classification:TextClassification",
        "multi-label-classification": "deploy.kinds.multi_label:MultiLabelClassification",
        "regression": "deploy.kinds.regression:Regression",
        "token-classification": "deploy.kinds.token_classification:TokenClassification",
        "question-answering": "deploy.kinds.question_answering:QuestionAnswering",
        "masked-language-model": "deploy.kinds.masked_language_model:MaskedLanguageModel",
        "text-embedding": "deploy.kinds.embedding:TextEmbedding",
    },
)

KIND_OF = {
    "classification": "text-classification",
    "multi-label": "multi-label-classification",
    "embedding": "text-embedding",
}
"""The kind of task that a model's outputs are for, where it is not called as they are."""


def kind_of(output: str) -> str:
    """The kind of task that a model with such outputs is for."""
    return KIND_OF.get(output, output)

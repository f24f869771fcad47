"""Multi-label classification: any number of labels go with a text, or pair of texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from deploy.kinds import Array
from deploy.kinds.of_texts import OfTexts
from deploy.labels import number_labels

_BETWEEN = re.compile(r"[,;|]")


class MultiLabelClassification(OfTexts):
    """Micro and macro F1, and the share of examples with exactly the right labels."""

    output = "multi-label"

    def read_label(self, cell: Any) -> list[str]:
        """A list, or text with commas, semicolons or bars between the labels; empty for none."""
        parts = _BETWEEN.split(cell) if isinstance(cell, str) else list(cell)
        return [text for text in (str(part).strip() for part in parts) if text]

    def name_labels(self, labels: Sequence[list[str]]) -> tuple[str, ...]:
        return tuple(sorted({name for some in labels for name in some}))

    def number(self, labels: Sequence[list[str]], names: Sequence[str]) -> Array:
        found = np.zeros((len(labels), len(names)), dtype=np.int64)
        for row, some in zip(found, labels, strict=True):
            row[number_labels(some, names)] = 1
        return found

    def answer(self, outputs: Array, _note: None) -> Array:
        return (outputs > 0).astype(np.int64)

    def scores(
        self,
        answers: Sequence[Array],
        truths: Sequence[Array],
        _names: Sequence[str],
    ) -> dict[str, float]:
        from sklearn.metrics import accuracy_score, f1_score

        found, wanted = np.stack(answers), np.stack(truths)
        return {
            "micro_f1": float(f1_score(wanted, found, average="micro", zero_division=0)),
            "macro_f1": float(f1_score(wanted, found, average="macro", zero_division=0)),
            "exact_match": float(accuracy_score(wanted, found)),
            "n": len(wanted),
        }

    def agreement(self, answers: Sequence[Array], reference: Sequence[Array]) -> dict[str, float]:
        same = np.stack(answers) == np.stack(reference)
        return {"agreement": float(same.mean()), "n": len(same)}

"""Text classification: each text, or pair of texts, is of one class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deploy.kinds import Array
from deploy.kinds.of_texts import OfTexts
from deploy.labels import name_labels, number_labels


class TextClassification(OfTexts):
    """Accuracy, macro F1 and Matthews correlation."""

    output = "classification"

    def read_label(self, cell: Any) -> str:
        text = str(cell).strip()
        if not text:
            raise ValueError("expected a label")
        return text

    def name_labels(self, labels: Sequence[str]) -> tuple[str, ...]:
        return name_labels(labels)

    def number(self, labels: Sequence[str], names: Sequence[str]) -> Array:
        return number_labels(labels, names)

    def answer(self, outputs: Array, _note: None) -> int:
        return int(outputs.argmax())

    def scores(
        self,
        answers: Sequence[int],
        truths: Sequence[int],
        _names: Sequence[str],
    ) -> dict[str, float]:
        # scikit-learn is slow to import, and most commands never score anything.
        from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

        return {
            "accuracy": float(accuracy_score(truths, answers)),
            "macro_f1": float(f1_score(truths, answers, average="macro", zero_division=0)),
            "mcc": float(matthews_corrcoef(truths, answers)),
            "n": len(truths),
        }

    def agreement(self, answers: Sequence[int], reference: Sequence[int]) -> dict[str, float]:
        same = np.asarray(answers) == np.asarray(reference)
        return {"agreement": float(same.mean()), "n": len(same)}

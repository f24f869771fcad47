"""Scores of classifiers from their logits."""

from __future__ import annotations

from typing import Any

import numpy as np

Logits = np.ndarray[Any, np.dtype[Any]]


def classification(logits: Logits, labels: np.ndarray[Any, Any]) -> dict[str, float]:
    """Accuracy, macro F1, Matthews correlation and number of examples.

    Args:
        logits: [n, classes].
        labels: [n], the index of the true class.
    """
    # scikit-learn is slow to import, and most commands never score anything.
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    predicted = logits.argmax(-1)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        "mcc": float(matthews_corrcoef(labels, predicted)),
        "n": len(labels),
    }


def agreement(logits: Logits, reference: Logits) -> dict[str, float]:
    """Share of rows whose largest logit is the reference's, and how many; both [n, classes]."""
    same = logits.argmax(-1) == reference.argmax(-1)
    return {"agreement": float(same.mean()), "n": len(same)}

from __future__ import annotations

import numpy as np
import pytest

from deploy.metrics import agreement, classification


def test_known_values() -> None:
    # Predictions 1 1 0 0 1 against 1 0 0 0 1: one false positive among five.
    logits = np.eye(2)[[1, 1, 0, 0, 1]]
    scores = classification(logits, np.array([1, 0, 0, 0, 1]))
    assert scores["accuracy"] == pytest.approx(4 / 5)
    assert scores["macro_f1"] == pytest.approx((4 / 5 + 4 / 5) / 2)
    assert scores["mcc"] == pytest.approx((2 * 2 - 1 * 0) / np.sqrt(3 * 2 * 3 * 2))
    assert scores["n"] == 5


def test_agreement_ignores_scale() -> None:
    logits = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [5.0, 4.0]])
    assert agreement(logits * 7, logits) == {"agreement": 1.0, "n": 4}
    assert agreement(logits[:, ::-1], logits)["agreement"] == 0.0

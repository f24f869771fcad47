"""Which of two networks is better."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from elastic.outputs import loss
from elastic.quality import Quality, label_losses
from elastic.tensors import tensors

NOISE = np.array([0.1, -0.1, 0.1, -0.1])


@pytest.mark.parametrize(
    ("apart", "gain", "better"),
    [
        (2.0, 0.2, True),
        (2.0, 0.09, False),
        (0.5, -0.2, False),
        (0.5, -0.09, True),
        (1.0, 0.0, False),
    ],
)
def test_labels_decide_where_they_tell_and_else_the_divergence(apart, gain, better) -> None:
    other = Quality(1.0, np.zeros(4))
    assert Quality(apart, NOISE - gain).better_than(other) is better


def test_without_labels_or_sense_in_the_losses_the_divergence_decides() -> None:
    for losses in (None, np.full(4, np.nan)):
        assert Quality(0.5, losses).better_than(Quality(1.0, np.zeros(4)))
        assert not Quality(1.5, losses).better_than(Quality(1.0, None))


def test_losses_are_those_of_the_search_splits_labels(encoder, make_task) -> None:
    task = make_task(label="label")
    found = label_losses(encoder, encoder.architecture, task)
    split, rows = task.split("search"), task.order("search")
    assert len(found) == len(split)
    with torch.inference_mode():
        for row in (0, len(rows) - 1):
            batch = split.tokens.padded(rows[row : row + 1], task.pad_id)
            inputs = tensors(batch, encoder)
            labels = torch.from_numpy(split.labels_of(rows[row : row + 1]))
            alone = loss(encoder.architecture, encoder(**inputs), inputs["attention_mask"], labels)
            assert found[row] == pytest.approx(float(alone), rel=1e-4)
    assert label_losses(encoder, encoder.architecture, make_task(label=None)) is None

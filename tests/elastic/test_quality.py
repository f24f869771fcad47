"""Which of two networks is better."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from elastic.quality import SCALES, Quality, label_losses
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


class Says(torch.nn.Module):
    """These outputs, one after the other."""

    def __init__(self, outputs: torch.Tensor) -> None:
        super().__init__()
        self.weight, self._left = torch.nn.Parameter(torch.ones(1)), outputs

    def forward(self, input_ids: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        found, self._left = self._left[: len(input_ids)], self._left[len(input_ids) :]
        return found


@pytest.mark.parametrize("labels", [1, 2])
def test_how_sure_a_network_is_counts_for_nothing(make_encoder, make_task, labels) -> None:
    architecture, task = make_encoder(labels).architecture, make_task(label="label")
    right = torch.from_numpy(task.split("search").labels_of(task.order("search")))
    noise = torch.randn(len(right), labels, generator=torch.Generator().manual_seed(0))
    outputs = noise + (right[:, None] if labels == 1 else torch.nn.functional.one_hot(right))
    found = label_losses(Says(outputs), architecture, task)
    assert found is not None
    surer = label_losses(Says(SCALES[8] / SCALES[6] * outputs), architecture, task)
    assert surer == pytest.approx(found, rel=1e-4)
    assert found.mean() < label_losses(Says(noise), architecture, task).mean()


@pytest.mark.parametrize("said", [1.0, np.nan])
def test_one_number_for_all_is_worth_no_more_than_the_mean(make_encoder, make_task, said) -> None:
    architecture, task = make_encoder(1).architecture, make_task(label="label")
    right = task.split("search").labels_of(task.order("search"))
    found = label_losses(Says(torch.full((len(right), 1), said)), architecture, task)
    assert found is not None
    expected = 0.5 * right.var() if said == 1.0 else np.nan
    assert found.mean() == pytest.approx(expected, nan_ok=True)


def test_losses_are_those_of_the_search_splits_labels(encoder, make_task) -> None:
    """As good as chance, an untrained network loses no more than one that says nothing."""
    task = make_task(label="label")
    found = label_losses(encoder, encoder.architecture, task)
    assert found is not None
    assert found.mean() <= np.log(encoder.architecture.labels)
    split, rows = task.split("search"), task.order("search")
    with torch.inference_mode():
        inputs = tensors(split.tokens.padded(rows, task.pad_id), encoder)
        outputs, labels = encoder(**inputs), torch.from_numpy(split.labels_of(rows))
        least = min(torch.nn.functional.cross_entropy(scale * outputs, labels) for scale in SCALES)
    assert found.mean() == pytest.approx(float(least), rel=1e-4)
    assert label_losses(encoder, encoder.architecture, make_task(label=None)) is None

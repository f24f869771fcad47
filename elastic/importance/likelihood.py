"""The scalar whose gradients first-order importances are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deploy.encoder import Encoder
from devices.errors import UsageError
from devices.runtimes import Arrays
from elastic.outputs import draw, has_classes, log_likelihood

Labels = Sequence[np.ndarray]
"""Per batch the class of every choice, int64 [batch] or [batch, choices]."""


class Likelihood:
    """log p(y|x), summed over the examples of a batch.

    y are the example's own labels where they are given, else they are drawn from the model's own
    distribution. Where the outputs are no choices among classes, p is a Gaussian of unit variance around
    them, and a random sign for each stands for y − f(x) (Hutchinson), which has the same second moments.

    Args:
        labels: of the same batches, in their order.

    Raises:
        UsageError: there is no batch, or not one array of labels for each.
    """

    def __init__(
        self, encoder: Encoder, batches: Sequence[Arrays], seed: int, labels: Labels | None
    ) -> None:
        if not batches:
            raise UsageError("Importance needs at least one batch of examples; none was given.")
        if labels is not None and len(labels) != len(batches):
            raise UsageError(
                f"{len(batches)} batches came with labels for {len(labels)}; give labels for each."
            )
        self._architecture = encoder.architecture
        self._generator = torch.Generator().manual_seed(seed)
        self._labels = None if labels is None else iter(labels)

    def __call__(self, outputs: Tensor, mask: Tensor) -> Tensor:
        """Of the next batch, with its outputs and its attention mask [batch, sequence]."""
        if not has_classes(self._architecture):
            signs = torch.randint(0, 2, outputs.shape, generator=self._generator)
            return (outputs * (2 * signs - 1).to(outputs)).sum()
        if self._labels is None:
            labels = draw(self._architecture, outputs, mask, self._generator)
        else:
            labels = torch.from_numpy(next(self._labels)).to(outputs.device)
        return log_likelihood(self._architecture, outputs, mask, labels)

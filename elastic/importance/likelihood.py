"""The scalar whose gradients first-order importances are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deploy.encoder import Encoder
from devices.errors import UsageError
from devices.runtimes import Arrays

Labels = Sequence[np.ndarray]
"""Per batch, int64 [batch]: the number of every example's class."""


class Likelihood:
    """log p(y|x), summed over the examples of a batch.

    y is the example's own label where labels are given, else it is drawn from the model's own
    distribution. An encoder with fewer than two labels has no distribution over classes: there p is a
    Gaussian of unit variance around its output, and a random sign for each output stands for y − f(x)
    (Hutchinson), which has the same second moments.

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
        self._classes = encoder.architecture.labels
        self._generator = torch.Generator().manual_seed(seed)
        self._labels = None if labels is None else iter(labels)

    def __call__(self, outputs: Tensor) -> Tensor:
        """Of the next batch, whose outputs are [batch, labels]."""
        if self._classes < 2:
            drawn = torch.randint(0, 2, outputs.shape, generator=self._generator)
            return (outputs * (2 * drawn - 1).to(outputs)).sum()
        return outputs.log_softmax(-1).gather(-1, self._given(outputs).to(outputs.device)).sum()

    def _given(self, outputs: Tensor) -> Tensor:
        if self._labels is not None:
            return torch.from_numpy(next(self._labels))[:, None]
        probabilities = outputs.detach().softmax(-1).cpu()
        return torch.multinomial(probabilities, 1, generator=self._generator)

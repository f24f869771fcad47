"""Small shared steps between NumPy batches and torch modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from devices.runtimes import Arrays


def tensors(batch: Arrays, model: nn.Module) -> dict[str, Tensor]:
    """A batch as tensors where the parameters of ``model`` are."""
    device = next(model.parameters()).device
    return {name: torch.from_numpy(array).to(device) for name, array in batch.items()}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode while the block runs; the model is left in the mode it was found in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)

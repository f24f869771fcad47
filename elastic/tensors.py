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


def divergence(labels: int, reference: Tensor, outputs: Tensor, temperature: float = 1.0) -> Tensor:
    """How far ``outputs`` are from ``reference``: [batch], in nats.

    Args:
        labels: of the architecture. From 2 on this is KL(reference ‖ outputs) of the two softmax
            distributions at ``temperature``; below there is no distribution over classes, and it is
            the KL of unit-variance Gaussians around the outputs, half their squared distance.
        reference, outputs: [batch, outputs].
    """
    if labels < 2:
        return 0.5 * (reference - outputs).square().sum(-1)
    wanted, found = ((x / temperature).log_softmax(-1) for x in (reference, outputs))
    return (wanted.exp() * (wanted - found)).sum(-1)

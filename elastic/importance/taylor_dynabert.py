"""First-order Taylor importance as DynaBERT defines it.

Source: Hou et al. 2020 (arXiv 2004.04037) §2.1, with the sums that its code takes: of a head |∂L/∂m|,
where m = 1 multiplies its attention; of a neuron |w₁·g₁ + b₁ g_b| + |w₂·g₂|, the change of the loss
when what writes it, or what reads it, becomes zero. Both are summed over batches, each with gradients of
its own; the published code lets them pile up from batch to batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deploy.encoder import Encoder
from deploy.layers import FeedForwardLayer
from devices.runtimes import Arrays
from elastic.importance.likelihood import Labels, Likelihood
from elastic.masks import gathering, scaled, spreading
from elastic.space import size_of
from elastic.tensors import evaluating, tensors


def taylor_dynabert(
    encoder: Encoder, batches: Sequence[Arrays], *, seed: int = 0, labels: Labels | None = None
) -> list[np.ndarray[Any, Any]]:
    """Float64 [heads] or [width] per position, of the mean loss of a batch.

    Raises UsageError as :class:`~elastic.importance.likelihood.Likelihood` does.
    """
    likelihood = Likelihood(encoder, batches, seed, labels)
    sizes = [size_of(operator) for operator in encoder.architecture.operators]
    totals = [np.zeros(size) for size in sizes]
    if not totals:
        return totals
    with evaluating(encoder), torch.enable_grad():
        for batch in batches:
            found = _batch_scores(encoder, tensors(batch, encoder), sizes, likelihood)
            for total, scores in zip(totals, found, strict=True):
                total += scores.double().cpu().numpy() / len(batch["input_ids"])
    return totals


def _batch_scores(
    encoder: Encoder, batch: dict[str, Tensor], sizes: Sequence[int], likelihood: Likelihood
) -> list[Tensor]:
    """Per position [units]."""
    wanted: list[list[Tensor]] = []
    with ExitStack() as stack:
        for layer, size in zip(encoder.operators, sizes, strict=True):
            if isinstance(layer, FeedForwardLayer):
                wanted.append(_weights(layer))
            else:
                mask = torch.ones(size, device=batch["input_ids"].device, requires_grad=True)
                stack.enter_context(scaled(layer, mask))
                wanted.append([mask])
        score = likelihood(encoder(**batch), batch["attention_mask"])
    gradients = iter(torch.autograd.grad(score, [tensor for some in wanted for tensor in some]))
    with torch.no_grad():
        return [_scores([tensor * next(gradients) for tensor in some]) for some in wanted]


def _scores(products: list[Tensor]) -> Tensor:
    """Of weights times their gradients: what writes each unit, and last what reads it."""
    *writing, reading = products
    if not writing:
        return reading.abs()  # of a mask
    written = torch.stack([product.reshape(len(product), -1).sum(1) for product in writing])
    return written.sum(0).abs() + reading.sum(0).abs()


def _weights(layer: FeedForwardLayer) -> list[Tensor]:
    written = [tensor for linear in spreading(layer) for tensor in (linear.weight, linear.bias)]
    return [*written, gathering(layer).weight]

"""Per-example Fisher information of masks: one backward pass per batch, no labels.

Put a mask m = 1 on every head and neuron. Near m = 1 the loss of removing units δ = m − 1 is

    KL(dense ‖ masked) ≈ ½ δᵀ F δ,    F = E_x E_{y ~ p(y|x)} [ g gᵀ ],    g = ∂ log p(y|x) / ∂m,

so with δ = −1 on a single unit its importance is ½ E[g²]: the diagonal Fisher of masks of Kwon et
al. 2022 (arXiv 2204.09656), with labels drawn from the model's own distribution, which makes F the
Hessian of the KL to the dense model, the loss of K-prune (arXiv 2308.03449), and needs no labels.
Squares are of each example's own gradient: the square of a batch's mean gradient, as is often
computed, averages out exactly the disagreement between examples that F is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deploy.encoder import Encoder
from devices.runtimes import Arrays
from elastic.importance.likelihood import Labels, Likelihood
from elastic.masks import scaled
from elastic.space import size_of
from elastic.tensors import evaluating, tensors


def fisher(
    encoder: Encoder, batches: Sequence[Arrays], *, seed: int = 0, labels: Labels | None = None
) -> list[np.ndarray[Any, Any]]:
    """½ E[g²] of every head and neuron, in nats: float64 [heads] or [width] per position.

    Args:
        labels: with them F is the empirical Fisher, of the examples' own labels.

    Raises UsageError as :class:`~elastic.importance.likelihood.Likelihood` does.
    """
    likelihood = Likelihood(encoder, batches, seed, labels)
    sizes = [size_of(operator) for operator in encoder.architecture.operators]
    totals = [np.zeros(size) for size in sizes]
    if not totals:
        return totals
    count = 0
    with evaluating(encoder), torch.enable_grad():
        for batch in batches:
            count += len(batch["input_ids"])
            gradients = _gradients(encoder, tensors(batch, encoder), sizes, likelihood)
            for total, gradient in zip(totals, gradients, strict=True):
                total += gradient.double().square().sum(0).cpu().numpy()
    return [0.5 * total / count for total in totals]


def _gradients(
    encoder: Encoder, batch: dict[str, Tensor], sizes: Sequence[int], likelihood: Likelihood
) -> list[Tensor]:
    """Per position ∂ log p(y|x) / ∂m of every example, [batch, units].

    Every example has a mask of its own, so the gradient of the batch's sum is each example's.
    """
    ids = batch["input_ids"]
    masks = [torch.ones(len(ids), 1, size, device=ids.device, requires_grad=True) for size in sizes]
    with ExitStack() as stack:
        for layer, mask in zip(encoder.operators, masks, strict=True):
            stack.enter_context(scaled(layer, mask))
        outputs = encoder(**batch)
    score = likelihood(outputs, batch["attention_mask"])
    gradients = torch.autograd.grad(score, masks)
    return [gradient.squeeze(1) for gradient in gradients]

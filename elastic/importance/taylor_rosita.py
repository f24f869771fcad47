"""First-order Taylor importance as ROSITA defines it.

Source: Liu et al. 2021 (arXiv 2103.11367) and its code: of a weight |w| · Σ|g|, the absolute gradients of
every step summed before the weight is multiplied in; of a neuron the sum over what writes it and what
reads it, of a head the sum over the columns of the output projection that read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deploy.encoder import Encoder
from deploy.layers import FeedForwardLayer
from devices.runtimes import Arrays
from elastic.importance.likelihood import Labels, Likelihood
from elastic.importance.units import rows
from elastic.masks import Layer, gathering, spreading
from elastic.space import size_of
from elastic.tensors import evaluating, tensors


def taylor_rosita(
    encoder: Encoder, batches: Sequence[Arrays], *, seed: int = 0, labels: Labels | None = None
) -> list[np.ndarray[Any, Any]]:
    """Float64 [heads] or [width] per position, of the mean loss of a batch.

    Raises UsageError as :class:`~elastic.importance.likelihood.Likelihood` does.
    """
    likelihood = Likelihood(encoder, batches, seed, labels)
    weights = [saliency_weights(layer) for layer in encoder.operators]
    flat = [weight for some in weights for weight in some]
    if not flat:
        return []
    sums = [torch.zeros_like(weight) for weight in flat]
    with evaluating(encoder), torch.enable_grad():
        for batch in batches:
            inputs = tensors(batch, encoder)
            score = likelihood(encoder(**inputs), inputs["attention_mask"])
            score = score / len(batch["input_ids"])
            for total, gradient in zip(sums, torch.autograd.grad(score, flat), strict=True):
                total += gradient.abs()
    with torch.no_grad():
        saliencies = iter([weight.abs() * total for weight, total in zip(flat, sums, strict=True)])
        sizes = map(size_of, encoder.architecture.operators)
        return [
            unit_scores([next(saliencies) for _ in some], size)
            for some, size in zip(weights, sizes, strict=True)
        ]


def saliency_weights(layer: Layer) -> list[nn.Parameter]:
    """Whose saliencies are added up: what writes the neurons of a feed-forward; last what reads the
    units of any sub-layer."""
    written = spreading(layer) if isinstance(layer, FeedForwardLayer) else []
    return [linear.weight for linear in (*written, gathering(layer))]


def unit_scores(saliencies: Sequence[Tensor], units: int) -> np.ndarray[Any, Any]:
    """Float64 [units], of the saliencies of :func:`saliency_weights`."""
    *written, read = saliencies
    parts = [rows(saliency, units) for saliency in (*written, read.T)]
    return torch.cat(parts, dim=1).double().sum(1).cpu().numpy()

"""Magnitude: the norms of what writes a unit and of what reads it, multiplied. No data is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from deploy.encoder import Encoder
from devices.runtimes import Arrays
from elastic.importance.likelihood import Labels, Likelihood
from elastic.importance.units import rows
from elastic.masks import Layer, gathering, spreading
from elastic.space import size_of


def magnitude(
    encoder: Encoder, batches: Sequence[Arrays], *, seed: int = 0, labels: Labels | None = None
) -> list[np.ndarray[Any, Any]]:
    """‖W_in‖ · ‖W_out‖ (Frobenius) of every head and neuron: float64 [heads] or [width] per position.

    Raises UsageError as every importance does, though the batches are not looked at.
    """
    Likelihood(encoder, batches, seed, labels)
    sizes = map(size_of, encoder.architecture.operators)
    return [_norms(*pair) for pair in zip(encoder.operators, sizes, strict=True)]


def _norms(layer: Layer, units: int) -> np.ndarray[Any, Any]:
    norms = rows(gathering(layer).weight.detach().T.double(), units).norm(dim=1)
    written = [
        rows(linear.weight.detach().double(), units).square().sum(1) for linear in spreading(layer)
    ]
    if written:
        norms = norms * torch.stack(written).sum(0).sqrt()
    return norms.cpu().numpy()

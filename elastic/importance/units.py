"""What belongs to each unit of a sub-layer: head, neuron, or the whole of another operator."""

from __future__ import annotations

from torch import Tensor


def rows(values: Tensor, units: int) -> Tensor:
    """What belongs to each unit along the first dimension: [units * n, ...] -> [units, rest]."""
    return values.unflatten(0, (units, -1)).flatten(1)

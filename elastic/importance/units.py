"""The weights that belong to each unit of a sub-layer: head, neuron, or the whole of another operator."""

from __future__ import annotations

from torch import Tensor, nn

from deploy.layers import AttentionLayer, FeedForwardLayer
from elastic.masks import Layer


def spreading(layer: Layer) -> list[nn.Linear]:
    """The linear layers whose outputs are the units'; none where the sub-layer is one unit."""
    if isinstance(layer, AttentionLayer):
        return [layer.query, layer.key, layer.value]
    if isinstance(layer, FeedForwardLayer):
        return [layer.up, *([] if layer.gate is None else [layer.gate])]
    return []


def rows(values: Tensor, units: int) -> Tensor:
    """What belongs to each unit along the first dimension: [units * n, ...] -> [units, rest]."""
    return values.unflatten(0, (units, -1)).flatten(1)

"""Masks on the units of a sub-layer: heads of an attention, neurons of a feed-forward, or all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from deploy.layers import (
    AttentionLayer,
    FeedForwardLayer,
    ProjectionLayer,
    SeparableConvolutionLayer,
)

Layer = AttentionLayer | FeedForwardLayer | SeparableConvolutionLayer | ProjectionLayer


def gathering(layer: Layer) -> nn.Linear:
    """The linear layer whose input is the units' outputs, side by side; a convolution or projection is
    one unit."""
    match layer:
        case AttentionLayer():
            return layer.output
        case FeedForwardLayer():
            return layer.down
        case SeparableConvolutionLayer():
            return layer.pointwise
        case ProjectionLayer():
            return layer.linear


def spreading(layer: Layer) -> list[nn.Linear]:
    """The linear layers whose outputs are the units'; none where the sub-layer is one unit."""
    if isinstance(layer, AttentionLayer):
        return [layer.query, layer.key, layer.value]
    if isinstance(layer, FeedForwardLayer):
        return [layer.up, *([] if layer.gate is None else [layer.gate])]
    return []


@contextmanager
def scaled(layer: Layer, mask: Tensor) -> Iterator[None]:
    """Multiply what each unit of ``layer`` contributes by ``mask``.

    Args:
        mask: [units], or [batch, 1, units] for a mask of its own for every example.
    """

    def multiply(_: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        units = inputs[0].unflatten(-1, (mask.shape[-1], -1))
        return (units * mask[..., None]).flatten(-2)

    handle = gathering(layer).register_forward_pre_hook(multiply)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def skipped(layer: Layer) -> Iterator[None]:
    """Make ``layer`` hand on its input, as if it were not there, its LayerNorm included."""

    def hand_on(_: nn.Module, inputs: tuple[Any, ...], __: Tensor) -> Tensor:
        states: Tensor = inputs[0]
        return states

    handle = layer.register_forward_hook(hand_on)
    try:
        yield
    finally:
        handle.remove()

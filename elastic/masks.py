"""Masks on the units of a sub-layer: heads of an attention, neurons of a feed-forward, or all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from deploy.architecture import Attention, Operator
from deploy.layers import (
    AttentionLayer,
    FeedForwardLayer,
    ProjectionLayer,
    SeparableConvolutionLayer,
)
from elastic.space import size_of

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
def prefixed(layer: Layer, dense: Operator, operator: Operator) -> Iterator[None]:
    """Compute with the first units of ``layer`` alone, as many as ``operator`` has, and with the first
    dimensions of its heads."""
    weight = gathering(layer).weight
    mask = _first(size_of(operator), size_of(dense)).to(weight)
    with ExitStack() as stack:
        if (
            isinstance(layer, AttentionLayer)
            and isinstance(operator, Attention)
            and operator.head_dim < layer.head_dim
        ):
            dimensions = _first(operator.head_dim, layer.head_dim).to(weight)
            mask = torch.outer(mask, dimensions).flatten()
            handle = layer.query.register_forward_hook(lambda _m, _i, queries: queries * mask)
            stack.callback(handle.remove)
        stack.enter_context(scaled(layer, mask))
        yield


def _first(kept: int, count: int) -> Tensor:
    return torch.arange(count) < kept


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

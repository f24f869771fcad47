"""Masks on what all sub-layers have in common: the residual stream and the table of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from deploy.encoder import Encoder
from deploy.heads import VocabularyHead
from deploy.layers import SeparableConvolutionLayer
from elastic.stream import first_projection, head_units, stream_layers, stream_norms

Before = Callable[[nn.Module, tuple[Any, ...]], Any]
After = Callable[[nn.Module, tuple[Any, ...], Any], Any]


@contextmanager
def narrowed(encoder: Encoder, hidden: int) -> Iterator[None]:
    """Compute with the first ``hidden`` dimensions of the residual stream alone.

    Every LayerNorm is over those, and gives zeros for the others, so that nothing reads them; the units
    inside the head are as many as the stream is wide, so these are cut, too.
    """
    with _hooks() as (before, after):
        for norm in [*stream_norms(encoder), *_head_norms(encoder)]:
            after(norm, _narrow_norm(hidden))
        projection = first_projection(encoder)
        if projection is not None:
            after(projection, lambda _m, _i, states: _first(states, hidden))
        for layer in stream_layers(encoder):
            if isinstance(layer, SeparableConvolutionLayer):
                before(layer.pointwise, lambda _m, inputs: _first(inputs[0], hidden))
        units = head_units(encoder)
        if units is not None:
            before(units[2], lambda _m, inputs: _first(inputs[0], hidden))
        yield


@contextmanager
def projected(encoder: Encoder, projection: Tensor) -> Iterator[None]:
    """Compute as if every row of the table of tokens were multiplied by ``projection``, symmetric
    [columns, columns]."""
    with _hooks() as (before, after):
        after(encoder.tokens, lambda _m, _i, rows: rows @ projection)
        if isinstance(encoder.head, VocabularyHead):
            before(encoder.head.decoder, lambda _m, inputs: inputs[0] @ projection)
        yield


@contextmanager
def merged(encoder: Encoder, rows: Tensor) -> Iterator[None]:
    """Compute as if id i had row ``rows[i]`` of the table of tokens."""
    with _hooks() as (before, after):
        before(encoder.tokens, lambda _m, inputs: rows[inputs[0]])
        if isinstance(encoder.head, VocabularyHead):
            after(encoder.head, lambda _m, _i, logits: logits.index_select(-1, rows))
        yield


@contextmanager
def _hooks() -> Iterator[tuple[Callable[..., None], Callable[..., None]]]:
    """Functions that put a hook before or after a module, for as long as the block runs."""
    with ExitStack() as stack:

        def before(module: nn.Module, hook: Before) -> None:
            stack.callback(module.register_forward_pre_hook(hook).remove)

        def after(module: nn.Module, hook: After) -> None:
            stack.callback(module.register_forward_hook(hook).remove)

        yield before, after


def _head_norms(encoder: Encoder) -> list[nn.LayerNorm]:
    units, head = head_units(encoder), encoder.head
    if units is not None and isinstance(units[1], nn.LayerNorm):
        return [units[1]]
    if isinstance(head, VocabularyHead) and first_projection(encoder) is None:
        return [head.norm]
    return []


def _first(states: Tensor, hidden: int) -> Tensor:
    """``states`` with zeros beyond the first dimensions."""
    return states * (torch.arange(states.shape[-1], device=states.device) < hidden).to(states.dtype)


def _narrow_norm(hidden: int) -> After:
    def hook(norm: nn.Module, inputs: tuple[Any, ...], _outputs: Tensor) -> Tensor:
        states, weight, bias = (t[..., :hidden] for t in (inputs[0], norm.weight, norm.bias))
        found = nn.functional.layer_norm(states, (hidden,), weight, bias, norm.eps)
        return nn.functional.pad(found, (0, inputs[0].shape[-1] - hidden))

    return hook

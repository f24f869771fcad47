"""Rewiring: another order or another basis of what is inside an encoder. Its function stays the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deploy.encoder import Encoder
from deploy.layers import AttentionLayer, FeedForwardLayer
from elastic.masks import gathering, spreading
from elastic.stream import Axis, head_units, stream_axes

Order = np.ndarray[Any, Any]


def reorder_units(layer: AttentionLayer | FeedForwardLayer, order: Order) -> None:
    """Put the heads or neurons of ``layer`` into ``order``."""
    reading = gathering(layer)
    rows = torch.arange(reading.in_features).unflatten(0, (len(order), -1))
    index = rows[torch.from_numpy(order)].flatten()
    axes: list[Axis] = [(reading.weight, 1)]
    for linear in spreading(layer):
        axes += [(linear.weight, 0), (linear.bias, 0)]
    _reorder(axes, index)


def reorder_stream(encoder: Encoder, order: Order) -> None:
    """Put the dimensions of the residual stream into ``order``, and the units inside the head into that
    of the weights that read them."""
    _reorder(stream_axes(encoder), torch.from_numpy(order))
    units = head_units(encoder)
    if units is not None:
        writing, norm, reading = units
        axes: list[Axis] = [(writing.weight, 0), (writing.bias, 0), (reading.weight, 1)]
        if isinstance(norm, nn.LayerNorm):
            axes += [(norm.weight, 0), (norm.bias, 0)]
        _reorder(axes, reading.weight.detach().norm(dim=0).argsort(descending=True))


def _reorder(axes: Iterable[Axis], index: Tensor) -> None:
    """Weights that modules share are put in order once."""
    unique = {(id(tensor), axis): tensor for tensor, axis in axes}
    with torch.no_grad():
        for (_, axis), tensor in unique.items():
            tensor.copy_(tensor.index_select(axis, index.to(tensor.device)))


def turn_heads(layer: AttentionLayer) -> None:
    """Turn the dimensions inside every head so that the first k carry as much as any k can.

    What a head computes of its input x are the products x Wqᵀ Wk xᵀ and Wo Wv x. With the singular value
    decomposition of either product, its factors are U √S and √S Vᵀ, and their first k dimensions are the
    best approximation of rank k (Eckart & Young 1936). Rotary positions turn queries and keys
    themselves, which are left as they are.
    """
    heads = layer.heads
    with torch.no_grad():
        query, key, value = (_with_bias(linear, heads) for linear in spreading(layer))
        if not layer.rotary:
            query, key = _balanced(query.mT, key)
            _write(layer.query, query.mT)
            _write(layer.key, key)
        reading = layer.output.weight.double().unflatten(1, (heads, -1)).transpose(0, 1)
        reading, value = _balanced(reading, value)
        layer.output.weight.copy_(reading.transpose(0, 1).flatten(1))
        _write(layer.value, value)


def _with_bias(linear: nn.Linear, heads: int) -> Tensor:
    """[heads, head_dim, hidden + 1] in float64."""
    joined = torch.cat([linear.weight, linear.bias[:, None]], 1).double()
    return joined.unflatten(0, (heads, -1))


def _balanced(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of ``left @ right`` in falling singular values: [heads, m, d] and [heads, d, n]."""
    outer, inner = torch.linalg.qr(left), torch.linalg.qr(right.mT)
    turn, values, back = torch.linalg.svd(outer.R @ inner.R.mT)
    root = values.sqrt()
    return outer.Q @ turn * root[:, None, :], root[:, :, None] * (back @ inner.Q.mT)


def _write(linear: nn.Linear, joined: Tensor) -> None:
    flat = joined.flatten(0, 1)
    linear.weight.copy_(flat[:, :-1])
    linear.bias.copy_(flat[:, -1])

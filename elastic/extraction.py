"""Extraction: copying what a sub-network keeps of the dense weights into an encoder of its size."""

from __future__ import annotations

import torch
from torch import Tensor

from deploy.encoder import Encoder
from deploy.layers import AttentionLayer
from elastic.masks import Layer, gathering, spreading


def fill_rest(
    small: Encoder, dense: Encoder, ids: tuple[Tensor, Tensor] | None, basis: Tensor | None
) -> None:
    """Everything but the sub-layers: the first units of each, and of the table of tokens what is kept.

    Args:
        ids: those whose rows of the table are kept, and the row of every id; None for all.
        basis: [rank, columns], orthonormal; None where the table keeps its columns.
    """
    wide = {
        name: parameter.detach()
        for name, parameter in dense.named_parameters()
        if not name.startswith("operators.")
    }
    if basis is not None:
        turned = basis.T
        expand = wide.get("expand.weight")
        wide["expand.weight"] = turned if expand is None else expand @ turned
        wide["tokens.weight"] = wide["tokens.weight"] @ turned
    rows = dense.row_of
    if ids is not None:
        kept, rows = ids
        for name in {"tokens.weight", "head.decoder.bias"} & {*wide}:
            wide[name] = wide[name][kept]
    with torch.no_grad():
        for name, parameter in small.named_parameters():
            if not name.startswith("operators."):
                _fill(parameter, wide[name])
        if small.row_of is not None:
            small.row_of.copy_(rows)


def fill_layer(small: Layer, dense: Layer) -> None:
    """The first heads or neurons, of every head the first dimensions."""
    with torch.no_grad():
        if isinstance(small, AttentionLayer) and small.head_dim < dense.head_dim:
            _fill_smaller_heads(small, dense)
            return
        wide = dict(dense.named_parameters())
        for name, parameter in small.named_parameters():
            _fill(parameter, wide[name])


def _fill_smaller_heads(small: AttentionLayer, dense: AttentionLayer) -> None:
    for target, source in zip(spreading(small), spreading(dense), strict=True):
        for kind in ("weight", "bias"):
            own, wide = (
                getattr(linear, kind).unflatten(0, (layer.heads, layer.head_dim))
                for layer, linear in ((small, target), (dense, source))
            )
            _fill(own, wide)
    own, wide = (
        gathering(layer).weight.unflatten(1, (layer.heads, layer.head_dim))
        for layer in (small, dense)
    )
    _fill(own, wide)
    _fill(small.output.bias, dense.output.bias)
    for kind, parameter in small.norm.named_parameters():
        _fill(parameter, getattr(dense.norm, kind))
    # Scores are divided by the root of the head size; they are to stay what they were.
    factor = (small.head_dim / dense.head_dim) ** 0.5
    small.query.weight.mul_(factor)
    small.query.bias.mul_(factor)


def _fill(target: Tensor, source: Tensor) -> None:
    target.copy_(source[tuple(slice(size) for size in target.shape)])

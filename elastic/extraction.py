"""Extraction: the weights of a sub-network as parts of the dense ones.

They are views wherever they can be, so that what is computed with them trains the dense encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from deploy.encoder import Encoder
from deploy.layers import AttentionLayer
from elastic.masks import Layer

Weights = dict[str, Tensor]


def weights_of(
    small: Encoder,
    dense: Encoder,
    kept: Sequence[Layer],
    ids: tuple[Tensor, Tensor] | None = None,
    basis: Tensor | None = None,
) -> Weights:
    """For every parameter and buffer of ``small`` its part of the dense weights.

    Args:
        small: of the sub-network's architecture; its own weights are not read.
        kept: for each of its sub-layers the one whose first heads or neurons it has, and of every head
            the first dimensions.
        ids: those whose rows of the table are kept, and the row of every id; None for all.
        basis: [rank, columns], orthonormal; None where the table keeps its columns.
    """
    found = _rest(small, dense, ids, basis)
    for place, (target, source) in enumerate(zip(small.operators, kept, strict=True)):
        for name, tensor in _of_layer(target, source).items():
            found[f"operators.{place}.{name}"] = tensor
    return {name: found[name] for name, _ in named_tensors(small)}


def named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers; what modules share is named once."""
    return chain(module.named_parameters(), module.named_buffers())


def _rest(
    small: Encoder, dense: Encoder, ids: tuple[Tensor, Tensor] | None, basis: Tensor | None
) -> Weights:
    """Everything but the sub-layers: the first units of each, and of the table of tokens what is kept."""
    wide = _outside(dense)
    if basis is not None:
        turned = basis.T
        expand = wide.get("expand.weight")
        wide["expand.weight"] = turned if expand is None else expand @ turned
        wide["tokens.weight"] = wide["tokens.weight"] @ turned
    if ids is not None:
        rows, wide["row_of"] = ids
        for name in {"tokens.weight", "head.decoder.bias"} & {*wide}:
            wide[name] = wide[name][rows]
    return {name: _part(wide[name], tensor.shape) for name, tensor in _outside(small).items()}


def _outside(encoder: Encoder) -> Weights:
    """What is not of a sub-layer."""
    return {
        name: tensor for name, tensor in named_tensors(encoder) if not name.startswith("operators.")
    }


def _of_layer(small: Layer, dense: Layer) -> Weights:
    wide = dict(named_tensors(dense))
    found = {name: _part(wide[name], tensor.shape) for name, tensor in named_tensors(small)}
    attentions = isinstance(small, AttentionLayer) and isinstance(dense, AttentionLayer)
    if attentions and small.head_dim < dense.head_dim:
        found |= _smaller_heads(small, dense)
    return found


def _smaller_heads(small: AttentionLayer, dense: AttentionLayer) -> Weights:
    found = {}
    for kind in ("query", "key", "value"):
        for name in (f"{kind}.weight", f"{kind}.bias"):
            own, wide = (
                layer.get_parameter(name).unflatten(0, (layer.heads, layer.head_dim))
                for layer in (small, dense)
            )
            found[name] = _part(wide, own.shape).flatten(0, 1)
    own, wide = (
        layer.output.weight.unflatten(1, (layer.heads, layer.head_dim)) for layer in (small, dense)
    )
    found["output.weight"] = _part(wide, own.shape).flatten(1)
    # Scores are divided by the root of the head size; they are to stay what they were.
    factor = (small.head_dim / dense.head_dim) ** 0.5
    for name in ("query.weight", "query.bias"):
        found[name] = found[name] * factor
    return found


def _part(wide: Tensor, shape: torch.Size) -> Tensor:
    return wide[tuple(slice(size) for size in shape)]

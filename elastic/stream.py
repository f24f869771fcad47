"""Where in an encoder the residual stream is: the norms that read it, the weights along it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from deploy.encoder import Encoder
from deploy.heads import FirstTokenHead, TokenHead, VocabularyHead
from deploy.layers import ProjectionLayer, SeparableConvolutionLayer
from elastic.masks import Layer, gathering, spreading
from elastic.trunk import is_projected

Axis = tuple[Tensor, int]


def stream_layers(encoder: Encoder) -> list[Layer]:
    """The sub-layers that add to the stream."""
    return list(encoder.operators[is_projected(encoder.architecture) :])


def first_projection(encoder: Encoder) -> ProjectionLayer | None:
    """What makes the stream of the embedding, where that is not as wide."""
    return encoder.operators[0] if is_projected(encoder.architecture) else None


def stream_norms(encoder: Encoder) -> list[nn.LayerNorm]:
    """The LayerNorms over the stream, in the order in which they are computed."""
    found = [] if first_projection(encoder) else [encoder.norm]
    found += [layer.norm for layer in stream_layers(encoder)]
    return [norm for norm in (*found, encoder.last_norm) if isinstance(norm, nn.LayerNorm)]


def head_units(encoder: Encoder) -> tuple[nn.Linear, nn.Module, nn.Linear] | None:
    """What writes, normalises and reads the units inside a head, as many as the stream is wide; None
    where it has none."""
    head = encoder.head
    if isinstance(head, FirstTokenHead):
        return head.pooler, head.norm, head.classifier
    if isinstance(head, TokenHead) and isinstance(head.transform, nn.Linear):
        return head.transform, head.norm, head.classifier
    return None


def stream_axes(encoder: Encoder) -> Iterator[Axis]:
    """Every parameter that lies along the stream, with the axis that does."""
    projection = first_projection(encoder)
    if projection is None:
        yield from _embedding_axes(encoder)
    else:
        yield from _written(projection.linear)
    for layer in stream_layers(encoder):
        yield from _layer_axes(layer)
    yield from _norm_axes(encoder.last_norm)
    yield from _head_axes(encoder, projected=projection is not None)


def _embedding_axes(encoder: Encoder) -> Iterator[Axis]:
    if isinstance(encoder.expand, nn.Linear):
        yield encoder.expand.weight, 0
    else:
        yield encoder.tokens.weight, 1
    if encoder.positions is not None:
        yield encoder.positions.weight, 1
    yield encoder.token_types.weight, 1
    yield from _norm_axes(encoder.norm)


def _layer_axes(layer: Layer) -> Iterator[Axis]:
    if isinstance(layer, SeparableConvolutionLayer):
        yield layer.depthwise.weight, 0
        yield layer.pointwise.weight, 1
    for linear in spreading(layer):
        yield linear.weight, 1
    yield from _written(gathering(layer))
    yield from _norm_axes(layer.norm)


def _head_axes(encoder: Encoder, *, projected: bool) -> Iterator[Axis]:
    head, units = encoder.head, head_units(encoder)
    if isinstance(head, VocabularyHead):
        yield head.transform.weight, 1
        if not projected:  # what it ends with is the table of tokens
            yield from _written(head.transform)
            yield from _norm_axes(head.norm)
    elif units is not None:
        yield units[0].weight, 1
    elif isinstance(head, TokenHead):
        yield head.classifier.weight, 1


def _written(linear: nn.Linear) -> Iterator[Axis]:
    yield linear.weight, 0
    yield linear.bias, 0


def _norm_axes(norm: nn.Module) -> Iterator[Axis]:
    if isinstance(norm, nn.LayerNorm):
        yield norm.weight, 0
        yield norm.bias, 0

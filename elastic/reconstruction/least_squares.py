"""Bottom-up least squares: every kept sub-layer is refitted to what the dense encoder has at its place.

From the first position to the last, on the student's own inputs: with u what the units of the sub-layer
give, x its residual stream, and t the dense encoder's sum before the LayerNorm at the same position,

    W, b = argmin Σ ‖W u + b − (t − x)‖² + λ ‖W − W₀‖²,

so that a sub-layer also makes up for what the cuts before it did to the residual stream (K-prune, Park et
al. 2023, arXiv 2308.03449, equation 8), with a ridge towards the weights that it has, where K-prune
has none and a rank-deficient calibration set blows up. All rounds of one position come before the next,
so that one walk through both encoders does. Where nothing mixes tokens any more the head reads the first
token alone, and only its rows count. Padding never does. After that a LayerNorm that comes last is
refitted, each dimension by itself. Where the dense encoder goes on after the last position that is kept,
that one is refitted to what it ends with, in weights that it no longer shares. In the end the head's
first linear layer and its LayerNorm are refitted in the same way, to what they give in the dense encoder.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from deploy.encoder import Encoder
from deploy.layers import (
    AttentionLayer,
    FeedForwardLayer,
    ProjectionLayer,
    SeparableConvolutionLayer,
)
from devices.errors import UsageError
from devices.runtimes import Arrays
from elastic.masks import Layer, gathering
from elastic.outputs import last_mixing
from elastic.reconstruction.ridge import refit_linear, refit_norm
from elastic.space import Chain
from elastic.tensors import evaluating, tensors

RIDGE = 1e-2  # of the mean of the Gram matrix's diagonal
HEAD_RIDGE = 1e-3  # nothing comes after the head that an error could grow in


@dataclass
class _Batch:
    """One batch on its way through both encoders.

    Attributes:
        dense, student: states [batch, sequence, hidden] before the position.
        mask: additive attention mask. real: [batch, sequence], False for padding.
    """

    dense: Tensor
    student: Tensor
    mask: Tensor
    real: Tensor


def reconstruct(dense: Encoder, student: Encoder, chain: Chain, batches: Sequence[Arrays]) -> None:
    """Refit ``student``, the sub-network ``chain`` of ``dense``, in place.

    Args:
        batches: int64 arrays [batch, sequence] as Task.batches gives them; no labels are used.

    Raises:
        UsageError: there is no batch.
    """
    if not batches:
        raise UsageError("Reconstruction needs at least one batch of examples; none was given.")
    last = max((p for p, kept in enumerate(chain) if kept is not None), default=len(chain) - 1)
    if last < len(chain) - 1:
        _own_weights(student)
    kept = iter(enumerate(student.operators))
    shared = _shared(student.architecture.shares)
    reads_all = last_mixing(dense.architecture)
    with evaluating(dense), evaluating(student), torch.inference_mode():
        under_way = [_begin(dense, student, batch) for batch in batches]
        for position, operator in enumerate(chain[: last + 1]):
            for layer in dense.operators[position : position + 1 if position < last else None]:
                targets = [_dense_step(layer, batch) for batch in under_way]
            if operator is None:
                continue
            place, own = next(kept)
            # A convolution's activation comes after its weights; weights that layers share stay as
            # they are, or each would need its own.
            if isinstance(own, SeparableConvolutionLayer) or place in shared:
                for batch in under_way:
                    batch.student = own(batch.student, batch.mask)
                continue
            _refit(own, under_way, targets, _rows(under_way, position > reads_all))
        _refit_head(dense, student, under_way)


def _own_weights(student: Encoder) -> None:
    """Tell the last sub-layer apart from those that it shares its weights with."""
    *others, first = student.architecture.shares or [0]
    if first < len(others):
        place = len(others)
        student.operators[place] = copy.deepcopy(student.operators[place])
        student.architecture = replace(student.architecture, shares=(*others, place))


def _rows(batches: Sequence[_Batch], first: bool) -> list[Tensor]:
    """[batch, sequence] per batch: the tokens that count, of which only the ``first`` may."""
    rows = [batch.real.clone() for batch in batches]
    for chosen in rows if first else []:
        chosen[:, 1:] = False
    return rows


def _begin(dense: Encoder, student: Encoder, batch: Arrays) -> _Batch:
    inputs = tensors(batch, dense)
    states, mask = dense.embed(**inputs)
    own, _ = student.embed(**inputs)
    return _Batch(states, own, mask, inputs["attention_mask"].bool())


def _shared(shares: Sequence[int]) -> set[int]:
    """The operators that do not have their weights for themselves."""
    return {place for place, first in enumerate(shares) if shares.count(first) > 1}


def _dense_step(layer: Layer, batch: _Batch) -> Tensor:
    """Move the dense states past ``layer``; what they were before a LayerNorm that comes last."""
    if isinstance(layer, ProjectionLayer) or layer.pre:
        batch.dense = layer(batch.dense, batch.mask)
        return batch.dense
    total = batch.dense + layer.added(batch.dense, batch.mask)
    batch.dense = layer.norm(total)
    return total


def _refit(
    layer: Layer, batches: Sequence[_Batch], targets: Sequence[Tensor], rows: Sequence[Tensor]
) -> None:
    """Refit the weights of ``layer`` and move the student's states past it."""
    linear, adds = gathering(layer), not isinstance(layer, ProjectionLayer)
    units = [_units(layer, batch) for batch in batches]
    # A student with a smaller hidden size has the first dimensions of the dense stream.
    wanted = [
        target[..., : linear.out_features] - (batch.student if adds else 0.0)
        for batch, target in zip(batches, targets, strict=True)
    ]
    refit_linear(linear, units, wanted, rows, RIDGE)
    for batch, given in zip(batches, units, strict=True):
        batch.student = linear(given) + (batch.student if adds else 0.0)
    if adds and not layer.pre:
        sums, states = [batch.student for batch in batches], [batch.dense for batch in batches]
        refit_norm(layer.norm, sums, states, rows, RIDGE)
        for batch in batches:
            batch.student = layer.norm(batch.student)


def _units(layer: AttentionLayer | FeedForwardLayer | ProjectionLayer, batch: _Batch) -> Tensor:
    """What the linear layer that is refitted is given."""
    if isinstance(layer, ProjectionLayer):
        return batch.student
    states = layer.norm(batch.student) if layer.pre else batch.student
    return layer.units(states, batch.mask)


def _refit_head(dense: Encoder, student: Encoder, batches: Sequence[_Batch]) -> None:
    """Refit what the head of ``student`` begins with, given the states after the last sub-layer."""
    own, wanted = student.head, dense.head
    if own.reader is None:
        return
    read, targets = [], []
    for batch in batches:
        read.append(own.gather(student.last_norm(batch.student), batch.real))
        targets.append(wanted.reader(wanted.gather(dense.last_norm(batch.dense), batch.real)))
    # A head on the first token, or on the mean of all, reads one row of each text.
    rows = [
        batch.real if given.dim() == 3 else batch.real.any(1)
        for batch, given in zip(batches, read, strict=True)
    ]
    sized = [target[..., : own.reader.out_features] for target in targets]
    refit_linear(own.reader, read, sized, rows, HEAD_RIDGE)
    if isinstance(own.norm, nn.LayerNorm):
        sums = [own.activation(own.reader(given)) for given in read]
        normed = [wanted.norm(wanted.activation(target)) for target in targets]
        refit_norm(own.norm, sums, normed, rows, HEAD_RIDGE)

"""The error of every module at every size: what the decoding adds up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deploy.architecture import Attention, SeparableConvolution
from deploy.encoder import Encoder
from devices.errors import UsageError
from devices.runtimes import Arrays
from elastic.elastic_encoder import ElasticEncoder
from elastic.space import Chain, SearchSpace
from elastic.tensors import divergence, tensors

Progress = Callable[[int, int], None]


def module_errors(
    elastic: ElasticEncoder,
    space: SearchSpace,
    batches: Sequence[Arrays],
    progress: Progress | None = None,
) -> list[np.ndarray[Any, Any]]:
    """Per position, float64 [choices]: mean KL(dense ‖ sub) in nats with only this module changed.

    Choice 0 is dense and has error 0. A smaller module is never given a smaller error than a larger
    one, so that noise cannot make the decoding pay for less. No labels are used.

    Args:
        batches: int64 arrays [batch, sequence] as Task.batches gives them.
        progress: called with (done, total).

    Raises:
        UsageError: there is no batch.
    """
    _require(batches)
    totals = [np.zeros(len(some)) for some in space.choices]
    steps = len(batches) * len(space.choices)
    with torch.inference_mode():
        for number, batch in enumerate(batches):
            before, mask, reference = _prefixes(elastic, batch)
            for position, total in enumerate(totals):
                total += _errors_at(elastic, space, position, before[position], mask, reference)
                if progress is not None:
                    progress(number * len(totals) + position + 1, steps)
    count = _examples(batches)
    return [np.maximum.accumulate(total / count) for total in totals]


def kl(elastic: ElasticEncoder, chain: Chain, batches: Sequence[Arrays]) -> float:
    """Mean KL(dense ‖ sub) of one sub-network, in nats per example.

    Raises UsageError where there is no batch.
    """
    _require(batches)
    labels = elastic.architecture.labels
    total = 0.0
    with torch.inference_mode():
        for batch in batches:
            inputs = tensors(batch, elastic)
            reference = elastic(**inputs).double()
            with elastic.active(chain):
                outputs = elastic(**inputs).double()
            total += float(divergence(labels, reference, outputs).sum())
    return max(0.0, total / _examples(batches))


def _prefixes(elastic: ElasticEncoder, batch: Arrays) -> tuple[list[Tensor], Tensor, Tensor]:
    """The dense model's states before every position, the attention mask, and its outputs."""
    states, mask = elastic.dense.embed(**tensors(batch, elastic))
    before = []
    for layer in elastic.dense.operators:
        before.append(states)
        states = layer(states, mask)
    return before, mask, elastic.dense.pool(states).double()


def _errors_at(
    elastic: ElasticEncoder,
    space: SearchSpace,
    position: int,
    states: Tensor,
    mask: Tensor,
    reference: Tensor,
) -> np.ndarray[Any, Any]:
    """Divergence of every choice at one position, summed over the batch: [choices].

    What comes before the position is dense, so only what comes from it on is computed.
    """
    errors = np.zeros(len(space.choices[position]))
    choice = list(space.dense)
    for level in range(1, len(errors)):
        choice[position] = level
        with elastic.active(space.chain(choice)):
            outputs = _resume(elastic.dense, states, mask, position).double()
        errors[level] = float(divergence(elastic.architecture.labels, reference, outputs).sum())
    return errors


def _resume(encoder: Encoder, states: Tensor, mask: Tensor, position: int) -> Tensor:
    """The outputs, given the states before ``position``."""
    operators = enumerate(encoder.architecture.operators)
    mixing = [i for i, op in operators if isinstance(op, (Attention, SeparableConvolution))]
    for number in range(position, len(encoder.operators)):
        if number > max(mixing, default=-1):
            states = states[
                :, :1
            ]  # nothing mixes tokens from here, and the head reads the first only
        states = encoder.operators[number](states, mask)
    return encoder.pool(states)


def _require(batches: Sequence[Arrays]) -> None:
    if not batches:
        raise UsageError("The error of a sub-network needs at least one batch; none was given.")


def _examples(batches: Sequence[Arrays]) -> int:
    return sum(len(batch["input_ids"]) for batch in batches)

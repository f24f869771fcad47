"""The error of every module at every size: what the decoding adds up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deploy.encoder import Encoder
from devices.errors import UsageError
from devices.runtimes import Arrays
from elastic.elastic_encoder import ElasticEncoder
from elastic.outputs import divergence, last_mixing
from elastic.space import Chain, SearchSpace
from elastic.tensors import tensors

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
            before = _dense(elastic, batch)
            for position, total in enumerate(totals):
                total += _errors_at(elastic, space, position, before)
                if progress is not None:
                    progress(number * len(totals) + position + 1, steps)
    count = _examples(batches)
    return [np.maximum.accumulate(total / count) for total in totals]


def kl(elastic: ElasticEncoder, chain: Chain, batches: Sequence[Arrays]) -> float:
    """Mean KL(dense ‖ sub) of one sub-network, in nats per example.

    Raises UsageError where there is no batch.
    """
    _require(batches)
    total = 0.0
    with torch.inference_mode():
        for batch in batches:
            inputs = tensors(batch, elastic)
            reference = elastic(**inputs).double()
            with elastic.active(chain):
                outputs = elastic(**inputs).double()
            real = inputs["attention_mask"]
            total += float(divergence(elastic.architecture, reference, outputs, real).sum())
    return max(0.0, total / _examples(batches))


@dataclass(frozen=True)
class _Dense:
    """What the dense encoder does with one batch.

    Attributes:
        states: before every position. mask: additive. real: the batch's attention mask.
    """

    states: list[Tensor]
    mask: Tensor
    real: Tensor
    outputs: Tensor


def _dense(elastic: ElasticEncoder, batch: Arrays) -> _Dense:
    inputs = tensors(batch, elastic)
    states, mask = elastic.dense.embed(**inputs)
    before = []
    for layer in elastic.dense.operators:
        before.append(states)
        states = layer(states, mask)
    real = inputs["attention_mask"]
    outputs = elastic.dense.head(elastic.dense.last_norm(states), real)
    return _Dense(before, mask, real, outputs.double())


def _errors_at(
    elastic: ElasticEncoder, space: SearchSpace, position: int, dense: _Dense
) -> np.ndarray[Any, Any]:
    """Divergence of every choice at one position, summed over the batch: [choices].

    What comes before the position is dense, so only what comes from it on is computed.
    """
    errors = np.zeros(len(space.choices[position]))
    choice = list(space.dense)
    for level in range(1, len(errors)):
        choice[position] = level
        with elastic.active(space.chain(choice)):
            outputs = _resume(elastic.dense, dense, position).double()
        found = divergence(elastic.architecture, dense.outputs, outputs, dense.real)
        errors[level] = float(found.sum())
    return errors


def _resume(encoder: Encoder, dense: _Dense, position: int) -> Tensor:
    """The outputs, given the dense states before ``position``."""
    states = dense.states[position]
    last = last_mixing(encoder.architecture)
    for number in range(position, len(encoder.operators)):
        if number > last:
            states = states[:, :1]  # what the head reads: nothing mixes tokens from here
        states = encoder.operators[number](states, dense.mask)
    outputs: Tensor = encoder.head(encoder.last_norm(states), dense.real)
    return outputs


def _require(batches: Sequence[Arrays]) -> None:
    if not batches:
        raise UsageError("The error of a sub-network needs at least one batch; none was given.")


def _examples(batches: Sequence[Arrays]) -> int:
    return sum(len(batch["input_ids"]) for batch in batches)

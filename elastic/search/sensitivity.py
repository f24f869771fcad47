"""The error of every module at every size: what the decoding adds up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from elastic.reconstruction.database import Database
from elastic.space import Chain, SearchSpace, is_part
from elastic.tensors import tensors

Progress = Callable[[int, int], None]
LEAST = 1e-12  # nats, so that logarithms are of something
KEPT_BYTES = 2**29  # of dense states
COARSE = 4  # every so many texts, which finer sets are made up from


def module_errors(
    elastic: ElasticEncoder,
    space: SearchSpace,
    batches: Sequence[Arrays],
    database: Database | None = None,
    progress: Progress | None = None,
) -> list[np.ndarray[Any, Any]]:
    """Per position, float64 [choices]: mean KL(dense ‖ sub) in nats with only this module changed.

    Choice 0 is dense and has error 0. No part of a module is given a smaller error than the whole of
    it, so that noise cannot make the decoding pay for less. No labels are used.

    Args:
        batches: int64 arrays [batch, sequence] as Task.batches gives them.
        database: with it every smaller module has its weights refitted, and only some sizes of each are
            measured: what its second moments say of the others is scaled to those.
        progress: called with (done, total).

    Raises:
        UsageError: there is no batch.
    """
    _require(batches)
    found = []
    with torch.inference_mode():
        under_way = [_begin(elastic, batch) for batch in batches]
        for position, some in enumerate(space.choices):
            levels = list(range(1, len(some))) if database is None else anchors(some)
            errors = _measured(elastic, space, position, levels, under_way, database)
            errors /= _examples(batches)
            if database is not None:
                kept = [operator for operator in some if operator is not None]
                errors = _along(database.errors(position, kept), levels, errors)
            found.append(_monotone(some, errors))
            for dense in under_way:
                dense.states = elastic.dense.operators[position](dense.states, dense.mask)
            if progress is not None:
                progress(position + 1, len(space.choices))
    return found


def anchors(choices: Chain) -> list[int]:
    """The choices that are measured at a position: a middle one, the smallest, and the dropped one."""
    kept = len([operator for operator in choices if operator is not None])
    return sorted({kept // 2, kept - 1, len(choices) - 1} - {0})


def _along(
    curve: np.ndarray[Any, Any], levels: Sequence[int], measured: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Errors of all choices: those of ``levels`` as measured, between them along ``curve``.

    The logarithm of measured over ``curve`` is interpolated in that of ``curve``, and constant outside.

    Args:
        curve: of the choices that are not dropped, which come first.
        measured: of all choices, 0 where it was not measured.
    """
    found = measured.copy()
    inside = [level for level in levels if level < len(curve)]
    rest = [level for level in range(1, len(curve)) if level not in inside]
    if not rest:
        return found
    logs = np.log(curve + LEAST)
    inside.sort(key=lambda level: logs[level])
    ratios = np.log(measured[inside] + LEAST) - logs[inside]
    found[rest] = np.exp(logs[rest] + np.interp(logs[rest], logs[inside], ratios))
    return found


def _monotone(choices: Chain, errors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Raised to the largest error of what each choice is a part of; a part stands after its whole."""
    found = errors.copy()
    for level, part in enumerate(choices):
        wholes = [i for i, whole in enumerate(choices[:level]) if is_part(part, whole)]
        found[level] = max([found[level], *found[wholes]])
    return found


@contextmanager
def sub_network(
    elastic: ElasticEncoder, chain: Chain, database: Database | None = None
) -> Iterator[None]:
    """Compute as the sub-network ``chain`` while the block runs, with ``database`` refitted."""
    with ExitStack() as stack:
        stack.enter_context(elastic.active(chain))
        if database is not None:
            stack.enter_context(database.fitted(chain))
        yield


class Divergence:
    """Mean KL(reference ‖ sub) of whole sub-networks on some texts, in nats per example.

    What a sub-network has in common with the dense encoder from the first sub-layer on is computed once,
    and kept as far as there is memory for it. What it loses on a quarter of the texts is kept too, and
    taken in where it is looked at on a half or all of them.

    Args:
        batches: int64 arrays [batch, sequence] as Task.batches gives them; no labels are used.
        database: with it every smaller module has its weights refitted.
        reference: what it diverges from, the dense encoder of ``elastic`` where not given.
        memory: bytes of dense states that are kept at most, beside those before the first sub-layer.

    Raises:
        UsageError: there is no batch.
    """

    def __init__(
        self,
        elastic: ElasticEncoder,
        batches: Sequence[Arrays],
        database: Database | None = None,
        *,
        reference: Encoder | None = None,
        memory: int = KEPT_BYTES,
    ) -> None:
        _require(batches)
        self._elastic, self._database = elastic, database
        with torch.inference_mode():
            self._batches = [_begin(elastic, batch, reference) for batch in batches]
            first = [batch.states for batch in self._batches]
            whole = sum(some.nbytes for some in first) * len(elastic.dense.operators)
            self._stride = max(1, math.ceil(whole / max(1, memory)))
            self._states = [self._kept(batch) for batch in self._batches]
        self._known: dict[tuple[Chain, int, int], tuple[float, int]] = {}

    def __call__(self, chain: Chain, every: int = 1) -> float:
        """The divergence of ``chain`` on every so many texts of a batch; NaN where its outputs are."""
        found = [self._part(chain, part) for part in _parts(every)]
        total, count = (sum(some) for some in zip(*found, strict=True))
        return float(np.maximum(0.0, total / count))  # which NaN passes through

    def _part(self, chain: Chain, part: slice) -> tuple[float, int]:
        """The sum over these texts of every batch, and how many there are; remembered."""
        key = (chain, part.start, part.step)
        if key not in self._known:
            self._known[key] = self._summed(chain, part)
        return self._known[key]

    def _summed(self, chain: Chain, part: slice) -> tuple[float, int]:
        begin = self._common(chain) // self._stride
        total, count = 0.0, 0
        with torch.inference_mode(), sub_network(self._elastic, chain, self._database):
            for batch, states in zip(self._batches, self._states, strict=True):
                dense = _Dense(
                    *(t[part] for t in (states[begin], batch.mask, batch.real, batch.outputs))
                )
                if not len(dense.outputs):
                    continue
                outputs = _resume(self._elastic.dense, dense, begin * self._stride).double()
                apart = divergence(self._elastic.architecture, dense.outputs, outputs, dense.real)
                total, count = total + float(apart.sum()), count + len(apart)
        return total, count

    def _kept(self, batch: _Dense) -> list[Tensor]:
        """The dense states before every so many sub-layers."""
        states, found = batch.states, []
        for position, operator in enumerate(self._elastic.dense.operators):
            if position % self._stride == 0:
                found.append(states)
            states = operator(states, batch.mask)
        return found

    def _common(self, chain: Chain) -> int:
        """The first position that is not dense, or the last one."""
        pairs = zip(chain, self._elastic.architecture.operators, strict=True)
        cut = (place for place, (own, dense) in enumerate(pairs) if own != dense)
        return next(cut, len(chain) - 1)


@dataclass
class _Dense:
    """What the dense encoder does with one batch.

    Attributes:
        states: before the position that is looked at. mask: additive. real: the batch's attention mask.
    """

    states: Tensor
    mask: Tensor
    real: Tensor
    outputs: Tensor


def _parts(every: int) -> list[slice]:
    """Of every so many texts: the coarser sets within first, then what lies between these.

    Always the same ones, whatever is known already: a sum is the same to the last bit if a search goes on
    after an interruption.
    """
    if COARSE % every:
        return [slice(0, None, every)]
    steps = [COARSE]
    while steps[-1] > every:
        steps.append(steps[-1] // 2)
    return [slice(0, None, COARSE)] + [slice(step, None, 2 * step) for step in steps[1:]]


def _begin(elastic: ElasticEncoder, batch: Arrays, reference: Encoder | None = None) -> _Dense:
    inputs = tensors(batch, elastic)
    states, mask = elastic.dense.embed(**inputs)
    outputs = (reference or elastic)(**inputs).double()
    return _Dense(states, mask, inputs["attention_mask"], outputs)


def _measured(
    elastic: ElasticEncoder,
    space: SearchSpace,
    position: int,
    levels: Sequence[int],
    batches: Sequence[_Dense],
    database: Database | None,
) -> np.ndarray[Any, Any]:
    """Divergence of the choices ``levels`` at one position, summed over the batches: [choices].

    What comes before the position is dense, so only what comes from it on is computed.
    """
    errors = np.zeros(len(space.choices[position]))
    choice = list(space.dense)
    for level in levels:
        choice[position] = level
        with sub_network(elastic, space.chain(choice), database):
            for dense in batches:
                outputs = _resume(elastic.dense, dense, position).double()
                found = divergence(elastic.architecture, dense.outputs, outputs, dense.real)
                errors[level] += float(found.sum())
    return errors


def _resume(encoder: Encoder, dense: _Dense, position: int) -> Tensor:
    """The outputs, given the dense states before ``position``."""
    states = dense.states
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

"""The error of every module at every size: what the decoding adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from elastic.elastic_encoder import ElasticEncoder
from elastic.reconstruction.database import Database
from elastic.search.texts import Array, Texts
from elastic.search.under_way import UnderWay, sub_network
from elastic.space import Chain, SearchSpace, is_part
from elastic.tensors import tensors

Progress = Callable[[int, int], None]
LEAST = 1e-12  # nats, so that logarithms are of something


def module_errors(
    elastic: ElasticEncoder,
    space: SearchSpace,
    texts: Texts,
    database: Database | None = None,
    *,
    every: int = 1,
    progress: Progress | None = None,
) -> list[Array]:
    """Per position, float64 [choices]: mean KL(dense ‖ sub) in nats with only this module changed, where
    dense is the dense encoder of ``elastic``.

    Choice 0 is dense and has error 0. No part of a module is given a smaller error than the whole of
    it, so that noise cannot make the decoding pay for less.

    Args:
        every: so many texts are looked at.
        database: with it every smaller module has its weights refitted, and only some sizes of each are
            measured: what its second moments say of the others is scaled to those.
        progress: called with (done, total).
    """
    found = []
    with torch.inference_mode():
        under_way = list(_begun(elastic, texts, texts.count(every)))
        for position, some in enumerate(space.choices):
            levels = list(range(1, len(some))) if database is None else anchors(some)
            errors = _measured(elastic, space, position, levels, under_way, database)
            if database is not None:
                kept = [operator for operator in some if operator is not None]
                errors = _along(database.errors(position, kept), levels, errors)
            found.append(_monotone(some, errors))
            for batch, _ in under_way:
                batch.states = elastic.dense.operators[position](batch.states, batch.mask)
            if progress is not None:
                progress(position + 1, len(space.choices))
    return found


def anchors(choices: Chain) -> list[int]:
    """The choices that are measured at a position: a middle one, the smallest, and the dropped one."""
    kept = len([operator for operator in choices if operator is not None])
    return sorted({kept // 2, kept - 1, len(choices) - 1} - {0})


def _along(curve: Array, levels: Sequence[int], measured: Array) -> Array:
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


def _monotone(choices: Chain, errors: Array) -> Array:
    """Raised to the largest error of what each choice is a part of; a part stands after its whole."""
    found = errors.copy()
    for level, part in enumerate(choices):
        wholes = [i for i, whole in enumerate(choices[:level]) if is_part(part, whole)]
        found[level] = max([found[level], *found[wholes]])
    return found


def _begun(elastic: ElasticEncoder, texts: Texts, count: int) -> Iterator[tuple[UnderWay, Array]]:
    """The first ``count`` texts by batch, and what they weigh in a mean [batch]."""
    weights = texts.weights(count)
    for (rows, places), batch in zip(texts.within(0, count), texts.batches, strict=True):
        if len(rows):
            some = {name: array[rows] for name, array in batch.items()}
            outputs = elastic(**tensors(some, elastic)).double()
            yield UnderWay.begun(elastic, some, outputs), weights[places]


def _measured(
    elastic: ElasticEncoder,
    space: SearchSpace,
    position: int,
    levels: Sequence[int],
    batches: Sequence[tuple[UnderWay, Array]],
    database: Database | None,
) -> Array:
    """Mean divergence of the choices ``levels`` at one position: [choices].

    What comes before the position is dense, so only what comes from it on is computed.
    """
    errors = np.zeros(len(space.choices[position]))
    choice = list(space.dense)
    for level in levels:
        choice[position] = level
        with sub_network(elastic, space.chain(choice), database):
            errors[level] = sum(
                float(batch.divergence(elastic, position) @ weights) for batch, weights in batches
            )
    return errors

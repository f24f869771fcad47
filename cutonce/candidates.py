"""Encoders that a profile may be made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np

from deploy.architecture import Architecture, Projection, SeparableConvolution, uniform
from deploy.workload import Workload
from elastic.space import SearchSpace

Pair = tuple[Architecture, Workload]

POOL = 400  # candidates that the D-optimal choice is made from
OTHER = 0.25  # of encoders of many shapes, with other sub-layers than BERT's: NAS-BERT's
KERNELS = (3, 5, 7)
# The embedding table is looked up row by row, so its size does not show in the latency; a small
# one keeps the exported random-weight encoders small.
VOCABULARY = 1024


def candidates(around: Architecture | None, workloads: Sequence[Workload], seed: int) -> list[Pair]:
    """The pool to choose from: sub-networks of one model, or encoders of many shapes; every encoder with
    one of the workloads, in turn, and the whole model with all."""
    rng, longest = np.random.default_rng(seed), max(w.length for w in workloads)
    if around is None:
        drawn = [trimmed(_random_encoder(rng), longest) for _ in range(POOL)]
        return list(zip(drawn, cycle(workloads), strict=False))
    space = SearchSpace.around(trimmed(around, longest))
    drawn = [space.architecture(space.sample(rng)) for _ in range(POOL)]
    whole = [(space.architecture(space.dense), workload) for workload in workloads]
    return [*whole, *zip(drawn, cycle(workloads), strict=False)]


def trimmed(architecture: Architecture, length: int) -> Architecture:
    """With no more rows in its embedding tables than timing needs."""
    return replace(
        architecture,
        vocabulary=min(architecture.table[0], VOCABULARY),
        rows=0,
        positions=min(architecture.positions, length),
    )


def _random_encoder(rng: np.random.Generator) -> Architecture:
    hidden = 64 * int(rng.integers(2, 9))
    layers, heads = int(rng.integers(1, 7)), hidden // int(rng.choice((32, 64)))
    dense = uniform(layers, hidden, heads, 4 * hidden, vocabulary=VOCABULARY)
    space = SearchSpace.around(dense)
    found = space.architecture(space.sample(rng))
    return _with_others(found, rng) if rng.random() < OTHER else found


def _with_others(architecture: Architecture, rng: np.random.Generator) -> Architecture:
    """Some sub-layers are separable convolutions, and all have a hidden size of their own."""
    projection = Projection(64 * int(rng.integers(2, 9)))
    chain = (
        SeparableConvolution(int(rng.choice(KERNELS))) if rng.random() < 0.5 else operator
        for operator in architecture.operators
    )
    return architecture.with_operators([projection, *chain])

"""Batches under way through the dense encoder, from which sub-networks go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from devices.runtimes import Arrays
from elastic.elastic_encoder import ElasticEncoder
from elastic.outputs import divergence, last_mixing
from elastic.reconstruction.database import Database
from elastic.space import Chain
from elastic.tensors import tensors


@dataclass
class UnderWay:
    """What the dense encoder did with one batch so far.

    Attributes:
        states: before the position that is looked at. mask: additive. real: the batch's attention mask.
        outputs: that a sub-network's are compared with.
    """

    states: Tensor
    mask: Tensor
    real: Tensor
    outputs: Tensor

    @classmethod
    def begun(cls, elastic: ElasticEncoder, batch: Arrays, outputs: Tensor) -> UnderWay:
        """Before the first sub-layer."""
        inputs = tensors(batch, elastic)
        states, mask = elastic.dense.embed(**inputs)
        return cls(states, mask, inputs["attention_mask"], outputs)

    def divergence(self, elastic: ElasticEncoder, position: int) -> np.ndarray[Any, Any]:
        """How far the active sub-network's outputs are, which is dense before ``position``: [batch]."""
        encoder, states = elastic.dense, self.states
        last = last_mixing(encoder.architecture)
        for number in range(position, len(encoder.operators)):
            if number > last:
                states = states[:, :1]  # what the head reads: nothing mixes tokens from here
            states = encoder.operators[number](states, self.mask)
        outputs = encoder.head(encoder.last_norm(states), self.real).double()
        found = divergence(elastic.architecture, self.outputs, outputs, self.real)
        return found.cpu().numpy()


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

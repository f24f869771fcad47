"""What sub-networks diverge by on each of some texts."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from elastic.elastic_encoder import ElasticEncoder
from elastic.reconstruction.database import Database
from elastic.search.texts import Array, Texts
from elastic.search.under_way import UnderWay, sub_network
from elastic.space import Chain

KEPT_BYTES = 2**29  # of dense states

Part = tuple[int, int]
"""The first place of some texts, and the one behind the last."""


class ByText(Protocol):
    """KL(dense ‖ sub) of a sub-network on each of a part of the texts, in their order: nats [texts]."""

    texts: Texts

    def __call__(self, chain: Chain, part: Part) -> Array: ...


class EachText:
    """:class:`ByText`, computed here.

    What a sub-network has in common with the dense encoder from the first sub-layer on is computed once,
    and kept as far as there is memory for it.

    Args:
        texts: with the outputs that are diverged from: of the dense encoder of ``elastic``, or of the one
            that this was cut from.
        database: with it every smaller module has its weights refitted.
        memory: bytes of dense states that are kept at most, beside those before the first sub-layer.
    """

    def __init__(
        self,
        elastic: ElasticEncoder,
        texts: Texts,
        database: Database | None = None,
        *,
        memory: int = KEPT_BYTES,
    ) -> None:
        self.texts = texts
        self._elastic, self._database = elastic, database
        with torch.inference_mode():
            self._begun = [
                UnderWay.begun(elastic, *pair)
                for pair in zip(texts.batches, texts.outputs, strict=True)
            ]
            first = sum(batch.states.nbytes for batch in self._begun)
            whole = first * len(elastic.dense.operators)
            self._stride = max(1, math.ceil(whole / max(1, memory)))
            self._states = [self._kept(batch) for batch in self._begun]

    def __call__(self, chain: Chain, part: Part) -> Array:
        begin = self._common(chain) // self._stride
        found = np.full(part[1] - part[0], np.nan)
        every = zip(self.texts.within(*part), self._begun, self._states, strict=True)
        with torch.inference_mode(), sub_network(self._elastic, chain, self._database):
            for (rows, places), batch, states in every:
                if len(rows):
                    given = (states[begin], batch.mask, batch.real, batch.outputs)
                    some = UnderWay(*(tensor[rows] for tensor in given))
                    apart = some.divergence(self._elastic, begin * self._stride)
                    found[places - part[0]] = apart
        return found

    def _kept(self, batch: UnderWay) -> list[Tensor]:
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

"""The divergence of whole sub-networks, looked at on few texts first."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from elastic.elastic_encoder import ElasticEncoder
from elastic.reconstruction.database import Database
from elastic.search.texts import Array, Texts
from elastic.search.under_way import UnderWay, sub_network
from elastic.space import Chain

KEPT_BYTES = 2**29  # of dense states
COARSE = 4  # every so many texts, which finer sets are made up from

Part = tuple[int, int]
"""The first place of some texts, and the one behind the last."""


class Divergence:
    """Mean KL(dense ‖ sub) of sub-networks on some texts, in nats per example.

    What a sub-network has in common with the dense encoder from the first sub-layer on is computed once,
    and kept as far as there is memory for it. What it loses on a quarter of the texts is kept too, and
    taken in where it is looked at on a half or all of them.

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
        self._elastic, self._texts, self._database = elastic, texts, database
        with torch.inference_mode():
            self._begun = [
                UnderWay.begun(elastic, *pair)
                for pair in zip(texts.batches, texts.outputs, strict=True)
            ]
            first = sum(batch.states.nbytes for batch in self._begun)
            whole = first * len(elastic.dense.operators)
            self._stride = max(1, math.ceil(whole / max(1, memory)))
            self._states = [self._kept(batch) for batch in self._begun]
        self._known: dict[tuple[Chain, Part], Array] = {}

    def __call__(self, chain: Chain, every: int = 1) -> float:
        """The divergence of ``chain`` on every so many texts; NaN where its outputs are."""
        apart = np.concatenate([self._part(chain, part) for part in self._parts(every)])
        mean = apart @ self._texts.weights(len(apart))
        return float(np.maximum(0.0, mean))  # which NaN passes through

    def _parts(self, every: int) -> list[Part]:
        """Every so many texts: the coarser sets within first, then what is added to these.

        Always the same ones, whatever is known already: a sum is the same to the last bit if a search
        goes on after an interruption.
        """
        steps = [every]
        while COARSE % steps[0] == 0 and steps[0] < COARSE:
            steps.insert(0, 2 * steps[0])
        return list(pairwise([0, *map(self._texts.count, steps)]))

    def _part(self, chain: Chain, part: Part) -> Array:
        """Of these texts, in their order; remembered."""
        if (chain, part) not in self._known:
            self._known[chain, part] = self._looked_at(chain, part)
        return self._known[chain, part]

    def _looked_at(self, chain: Chain, part: Part) -> Array:
        begin = self._common(chain) // self._stride
        found = np.empty(part[1] - part[0])
        every = zip(self._texts.within(*part), self._begun, self._states, strict=True)
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

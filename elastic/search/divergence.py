"""The divergence of whole sub-networks, looked at on few texts first."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from elastic.search.each_text import ByText, Part
from elastic.search.texts import Array
from elastic.space import Chain

COARSE = 4  # every so many texts, which finer sets are made up from


class Divergence:
    """Mean KL(dense ‖ sub) of sub-networks on some texts, in nats per example.

    What a sub-network loses on a quarter of the texts is kept, and taken in where it is looked at on a
    half or all of them.
    """

    def __init__(self, by_text: ByText) -> None:
        self._by_text, self._texts = by_text, by_text.texts
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
            self._known[chain, part] = self._by_text(chain, part)
        return self._known[chain, part]

"""Texts that sub-networks are compared on, and which of them are looked at where a few have to do.

A sub-network diverges most where the dense encoder hardly decides: on TREC a twentieth of the texts make
up four fifths of what a hundred sub-networks diverge by. A text is therefore drawn with a probability
that grows with the entropy of what the dense encoder answers, and what it diverges by weighs the inverse
of that (Horvitz & Thompson 1952, doi 10.1080/01621459.1952.10483446). Few texts are the first of many:
text i, of share pᵢ, stands at the place of uᵢ/pᵢ for one uᵢ ~ U(0, 1) (sequential Poisson sampling,
Ohlsson 1998, J. Off. Stat. 14).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from deploy.encoder import Encoder
from devices.errors import UsageError
from devices.runtimes import Arrays
from elastic.outputs import entropy
from elastic.tensors import tensors

Array = np.ndarray[Any, Any]
UNIFORM = 0.2  # of the shares, so that no text is out of reach


class Texts:
    """Batches with the dense encoder's outputs, in the order in which they are looked at.

    Args:
        dense: what sub-networks diverge from.
        batches: int64 arrays [batch, sequence] as Task.batches gives them; no labels are used.
        seed: of the order.

    Attributes:
        outputs: float64, of every batch.
        places: of every batch, where its texts stand in the order [batch].

    Raises:
        UsageError: there is no batch.
    """

    def __init__(self, dense: Encoder, batches: Sequence[Arrays], *, seed: int = 0) -> None:
        if not batches:
            raise UsageError("The error of a sub-network needs at least one batch; none was given.")
        self.batches = batches
        given = [tensors(batch, dense) for batch in batches]
        with torch.inference_mode():
            self.outputs = [dense(**inputs).double() for inputs in given]
            found = [
                entropy(dense.architecture, outputs, inputs["attention_mask"])
                for outputs, inputs in zip(self.outputs, given, strict=True)
            ]
        shares = _mixed(torch.cat(found).numpy())
        order = np.argsort(np.random.default_rng(seed).random(len(shares)) / shares)
        self._shares = shares[order]
        ends = np.cumsum([len(some) for some in found])[:-1]
        self.places: list[Array] = np.split(np.argsort(order), ends)

    def some(self, numbers: Sequence[int]) -> Texts:
        """Those of some batches, in the same order with the places of all."""
        found = copy.copy(self)
        found.batches = [self.batches[number] for number in numbers]
        found.outputs = [self.outputs[number] for number in numbers]
        found.places = [self.places[number] for number in numbers]
        return found

    def count(self, every: int) -> int:
        """How many are looked at where it is every so many."""
        return math.ceil(len(self._shares) / every)

    def within(self, first: int, end: int) -> Iterator[tuple[Array, Array]]:
        """Of every batch the rows whose places lie between these, and their places."""
        for places in self.places:
            rows = np.flatnonzero((first <= places) & (places < end))
            yield rows, places[rows]

    def weights(self, count: int) -> Array:
        """Of the first ``count``, in their order, in the mean over all: [count]."""
        chances = inclusion(self._shares, count)[:count]
        found: Array = 1 / (len(self._shares) * chances)
        return found


def inclusion(shares: Array, count: int) -> Array:
    """Probabilities [n] of being one of ``count`` ≤ n that are drawn in proportion to ``shares``, at most
    1: what a sure one does not take of its share is left to the others."""
    found = np.ones(len(shares))
    open_ = np.ones(len(shares), bool)
    while open_.any():
        left = count - np.count_nonzero(~open_)
        chances = left * shares / shares[open_].sum()
        if chances[open_].max() <= 1:
            found[open_] = chances[open_]
            break
        open_ &= chances < 1
    return found


def _mixed(entropies: Array) -> Array:
    """Shares [n] in proportion to the entropies, as far as there are any, and uniform ones."""
    uniform = np.full(len(entropies), 1 / len(entropies))
    whole = float(entropies.sum())
    if not whole > 0:
        return uniform
    return UNIFORM * uniform + (1 - UNIFORM) * entropies / whole

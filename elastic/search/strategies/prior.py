"""What is believed of losses before they are told: the priors of equation (1) of
elastic.search.strategies.natural_gradient.

Priors: c ~ N(m, t²MRM), where m is the γ-th power of what single cuts cost, M = diag(m), and R correlates
levels of one position, r^|k−l| the k-th and the l-th, and B such that

    Cov(f(x), f(x')) = t² φ(x)ᵀMRMφ(x') + κ (φ(x)ᵀW^½RW^½φ(x'))²,                           (2)

where W = M, a pair being as wide as the root of what its cuts cost, as in the squared norm of a sum; with
a noise of γ·s·y·exp(d/4) on a y = loss^γ that lies d standard deviations above the least: small losses
decide, and no sum holds far from them. γ, r, how far m is flattened over the positions, how far it is
trusted (t), κ and s are drawn as the evidence tells (MacKay 1992), one at a time given the others, again
after every few losses: what it leaves open is tried. Costs span orders of magnitude and single cuts may
tell little, so m is then learned too, a few times over, by the step of expectation maximisation for its
scale: for all positions' k-th levels together from those that were told, and towards what the losses
tell of every coefficient,

    m₀ ← m₀ (mean of E[c² | y] / (1 + t²)m² over these)^(ρ/2),
    m ← m₀^(1−ρ) (E[c² | y] / (1 + t²))^(ρ/2),                                              (3)

which leaves a coefficient at its level's where nothing was told of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from elastic.search.knapsack import Array, Errors
from elastic.search.strategies.posterior import Belief, Posterior
from elastic.search.strategies.strategy import LEAST

POWERS = (1.0, 0.5, 0.25)  # γ; what the prior decodes to under each is asked for first
LEARNED, TOWARDS = 4, 0.8  # times that (3) is taken, and its ρ


class Hyperparameters(NamedTuple):
    """What is drawn as the evidence tells; these until so much was told that it says anything, wide
    enough for the first draws to differ in all that matters.

    Attributes:
        power: of the loss that is a sum, γ.
        flatness: of the prior mean: of logarithms towards their mean over the positions.
        alike: correlation of a level's coefficient with the next one's, r.
        trust: standard deviation of a coefficient over its prior mean.
        pairs: standard deviation of what pairs add, over that of a usual sum.
        noise: of a loss, relative.
    """

    power: float = 1.0
    flatness: float = 0.0
    alike: float = 0.95
    trust: float = 0.8
    pairs: float = 0.3
    noise: float = 0.03


GRID = {
    "power": POWERS,
    "flatness": (0.0, 0.5, 1.0),
    "alike": (0.0, 0.7, 0.95),
    "trust": (0.3, 0.8, 2.0),
    "pairs": (0.0, 0.3, 1.0),
    "noise": (0.03, 0.1),
}


class Prior:
    """Over the coefficients [p] of every level but the dense one of every position.

    Args:
        errors: per position, what each choice costs by itself, above 0; choice 0 is dense.
    """

    def __init__(self, errors: Errors) -> None:
        self._ends = np.cumsum([0, *(len(row) - 1 for row in errors)])
        single: Array = np.concatenate([row[1:] for row in errors])
        self._steps, self._same = _steps(self._ends), _same_levels(self._ends)
        self._logs = np.log(single)
        self._flat_logs = np.log(self._same @ single / self._same.sum(1))

    def features(self, choices: Sequence[Sequence[int]] | Array) -> Array:
        """φ [n, p]."""
        found = np.zeros((len(choices), int(self._ends[-1])))
        for start, levels in zip(self._ends, np.array(choices, dtype=int).T, strict=False):
            rows = np.flatnonzero(levels)
            found[rows, start + levels[rows] - 1] = 1.0
        return found

    def rows(self, coefficients: Array) -> Errors:
        """Coefficients [p] as errors per position, with the dense choice's; what is cut never helps."""
        parts = np.split(np.maximum(coefficients, 0.0), self._ends[1:-1])
        return [np.append(0.0, part) for part in parts]

    def belief(
        self, hyper: Hyperparameters, features: Array, losses: Array, *, learned: bool
    ) -> Belief:
        """With W = M and what losses [n] of choices with features [n, p] tell of m by (3), or with
        neither: then W is the sum's."""
        power, flatness, alike, trust, pairs, noise = hyper
        correlated = alike**self._steps

        def belief(mean: Array) -> Belief:
            spread = trust * mean
            width = mean if learned else np.square(spread)
            kappa = pairs**2 * _usual(features, np.square(spread)) / _usual(features, width) ** 2
            return Belief(power, mean, spread, correlated, kappa, width, noise)

        first: Array = np.exp(power * ((1 - flatness) * self._logs + flatness * self._flat_logs))
        if not len(losses):
            return belief(first)
        # One factor for all, as large losses over their sums as small ones: these span magnitudes.
        sums = np.maximum(features @ first, LEAST)
        first = first * np.exp((power * np.log(losses) - np.log(sums)).mean())
        told: Array = features.max(0)
        found = belief(first)
        for _ in range(LEARNED if learned else 0):
            squares = Posterior(found, features, losses).squares() / (1 + trust**2)
            first = first * self._shared(squares / np.square(found.mean), told) ** (TOWARDS / 2)
            own = np.maximum(squares, LEAST**2) ** (TOWARDS / 2)
            found = belief(first ** (1 - TOWARDS) * own)
        return found

    def _shared(self, ratios: Array, told: Array) -> Array:
        """The mean of each level's ratios [p] that were told, and one more that is 1, over the positions
        with as many levels."""
        found: Array = (self._same @ (ratios * told) + 1) / (self._same @ told + 1)
        return found

    def evident(
        self,
        known: Hyperparameters,
        features: Array,
        losses: Array,
        rng: np.random.Generator,
        *,
        learned: bool,
    ) -> Hyperparameters:
        """Drawn one at a time, given the others, from those ``known`` before."""

        @cache
        def evidence(hyper: Hyperparameters) -> float:
            belief = self.belief(hyper, features, losses, learned=learned)
            return Posterior(belief, features, losses).evidence

        found = known
        for name, values in GRID.items():
            tried = [found._replace(**{name: value}) for value in values]
            found = tried[_drawn(rng, [evidence(hyper) for hyper in tried])]
        return found


def _usual(features: Array, widths: Array) -> float:
    """Sum over the cuts of a choice, as it is for those that were told."""
    return max(LEAST, float((features @ widths).mean())) if len(features) else 1.0


def _same_levels(ends: Array) -> Array:
    """1 where two are the same level of positions with as many levels, else 0 [p, p]."""
    level, size = _levels(ends), np.repeat(np.diff(ends), np.diff(ends))
    found: Array = (level[:, None] == level) & (size[:, None] == size)
    return found.astype(float)


def _steps(ends: Array) -> Array:
    """How many levels lie between two of one position [p, p]; infinite between positions."""
    level, position = _levels(ends), np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    found: Array = np.where(position[:, None] == position, np.abs(level[:, None] - level), np.inf)
    return found


def _levels(ends: Array) -> Array:
    """Of which level of its position each coefficient is, from 0 on [p]."""
    found: Array = np.arange(ends[-1]) - np.repeat(ends[:-1], np.diff(ends))
    return found


def _drawn(rng: np.random.Generator, logs: Sequence[float]) -> int:
    """One of what has these logarithms of a probability, but for a constant."""
    shares = np.exp(np.array(logs) - max(logs))
    return int(rng.choice(len(shares), p=shares / shares.sum()))

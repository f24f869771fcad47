"""The Gaussian posterior of what a loss is made of: equations (1) and (4) of
elastic.search.strategies.natural_gradient, (2) of elastic.search.strategies.prior."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, solve_triangular

from elastic.search.knapsack import Array
from elastic.search.strategies.strategy import LEAST

ENOUGH = 8  # losses from which nearness to the least counts
FAREST = 20.0  # standard deviations, so that no loss is without any weight
SMALLEST = 1e-3  # loss over their mean that is told apart from none


@dataclass(frozen=True, eq=False)
class Belief:
    """The prior of (1) and (2).

    Attributes:
        power: γ. mean, spread: of c [p], the latter a standard deviation. alike: R [p, p].
        pairs: κ. width: the diagonal of W [p]. noise: of a loss, relative.
    """

    power: float
    mean: Array
    spread: Array
    alike: Array
    pairs: float
    width: Array
    noise: float


@dataclass(frozen=True, eq=False)
class Draw:
    """A function (1) of the ``power``: ``linear`` [p], ``products`` [p, p]."""

    power: float
    linear: Array
    products: Array

    def widened(self, mean: Draw, factor: float) -> Draw:
        """``factor`` times as far from ``mean``."""
        return Draw(
            self.power,
            mean.linear + factor * (self.linear - mean.linear),
            mean.products + factor * (self.products - mean.products),
        )

    def __call__(self, features: Array) -> Array:
        """f: [n, p] -> [n]."""
        found: Array = features @ self.linear + (features @ self.products * features).sum(1)
        return found

    def losses(self, features: Array) -> Array:
        """[n, p] -> [n]; 0 where f is below."""
        found: Array = np.maximum(self(features), 0.0) ** (1 / self.power)
        return found


class Posterior:
    """Of f, given a belief and losses [n] > 0 of choices with features [n, p]."""

    def __init__(self, belief: Belief, features: Array, losses: Array) -> None:
        self._belief, self._features = belief, features
        self._told: Array = losses**belief.power
        self._stretched = float(
            np.log(belief.power * self._told / losses).sum()
        )  # of losses to these
        far = np.zeros(len(losses))
        if len(losses) > ENOUGH:
            far = (self._told - self._told.min()) / max(LEAST, float(self._told.std()))
        least = SMALLEST * self._told.mean() if len(losses) else 0.0
        self._noise = belief.power * belief.noise * np.maximum(self._told, least)
        self._noise *= np.exp(np.minimum(far, FAREST) / 4)
        self._roots = np.sqrt(belief.width)
        self._gain = features * belief.spread @ belief.alike * belief.spread
        self._paired = features * self._roots @ belief.alike * self._roots
        covariance = belief.pairs * np.square(self._paired @ features.T)
        covariance += self._gain @ features.T
        covariance[np.diag_indices_from(covariance)] += np.square(self._noise)
        self._root = np.linalg.cholesky(covariance) if len(losses) else covariance

    @property
    def evidence(self) -> float:
        """Logarithm of the probability of the losses, but for a constant."""
        missed = self._told - self._features @ self._belief.mean
        apart = solve_triangular(self._root, missed, lower=True, check_finite=False)
        return float(self._stretched - 0.5 * apart @ apart - np.log(np.diag(self._root)).sum())

    def mean(self) -> Draw:
        """The expected function."""
        mean = self._belief.mean
        prior = Draw(self._belief.power, mean, np.zeros((len(mean), len(mean))))
        return self._given(prior, np.zeros_like(self._noise))

    def squares(self) -> Array:
        """E[c² | losses] [p]."""
        belief, missed = self._belief, self._told - self._features @ self._belief.mean
        both = np.column_stack([self._gain, missed])
        both = solve_triangular(self._root, both, lower=True, check_finite=False)
        gain, apart = both[:, :-1], both[:, -1]
        variance = np.square(belief.spread) - np.square(gain).sum(0)
        found: Array = np.square(belief.mean + apart @ gain) + np.maximum(variance, 0.0)
        return found

    def draw(self, rng: np.random.Generator) -> Draw:
        """A function of the posterior."""
        belief, roots = self._belief, self._roots
        lower = np.linalg.cholesky(belief.alike)
        linear = belief.mean + belief.spread * (lower @ rng.standard_normal(len(roots)))
        square = rng.standard_normal((len(roots), len(roots)))
        square = lower @ (square + square.T) @ lower.T / 2
        products = math.sqrt(belief.pairs) * np.outer(roots, roots) * square
        prior = Draw(belief.power, linear, products)
        return self._given(prior, self._noise * rng.standard_normal(len(self._noise)))

    def _given(self, prior: Draw, noise: Array) -> Draw:
        """``prior`` corrected by what it misses of the losses, by (4)."""
        if not len(self._told):
            return prior
        weights = cho_solve((self._root, True), self._told - prior(self._features) - noise)
        more = self._belief.pairs * (self._paired.T * weights) @ self._paired
        return Draw(prior.power, prior.linear + self._gain.T @ weights, prior.products + more)

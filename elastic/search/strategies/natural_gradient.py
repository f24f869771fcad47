"""Feasible-set natural gradient: few evaluations, all of networks that keep their budget.

The search distribution is q(x) ∝ exp(−f(x)) over the choices that keep a budget, where f is a power of
the loss as features of a choice tell it: φ(x), one-hot of every level but the dense one, and their
products,

    loss(x)^γ = f(x) = cᵀφ(x) + φ(x)ᵀBφ(x).                                                 (1)

With ∇E[loss^γ] = −Cov(features, loss^γ) and Fisher information F = Cov(features, features), the natural
gradient F⁻¹∇E[loss^γ] is the regression of what was told on the features (Amari 1998), so that a step is
a regression of every loss told so far; with Gaussian priors it is the posterior (the Bayesian learning
rule, Khan & Rue 2021, arXiv 2107.04562). To draw from q is to draw f from that and to minimise it under
the budget (Thompson 1933). φ and the loss know of no device: one posterior serves all budgets. Losses add
up where what is cut is little and its effects are independent (γ = 1), their roots where all go one way
(γ = ½), and less where small cuts of everything do more harm than a few large ones.
The posterior is too sure of kinds of networks that it was told none of, and a search stays among those
that it began with: it begins with what single cuts lead to and, as long as these are better, with choices
that they say nothing of.

The priors, (2) and (3), are those of elastic.search.strategies.prior. A posterior draw is a prior draw
corrected by what it misses of the losses (Matheron's rule, Wilson et al. 2020, arXiv 2002.09309): with
V = W^½RW^½,

    c + t²MRMΦᵀα,  B + κ VΦᵀ diag(α) ΦV,  α = (K + N)⁻¹ (y − f(X) − ε).                     (4)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from elastic.search.feasible import Feasible
from elastic.search.knapsack import Array, Errors
from elastic.search.strategies.posterior import ENOUGH, Draw, Posterior
from elastic.search.strategies.prior import POWERS, Hyperparameters, Prior
from elastic.search.strategies.strategy import LEAST, Strategy
from elastic.space import Choice

AGAIN, SELDOM = 2, 10  # losses after which it is asked again: of those told, one in so many
UNLUCKY = 2  # scattered choices, after which none more is asked for if none of them is the best
GLOBAL = 0.5  # share of draws that are minimised over all choices
STALE = 12  # losses without a better one, after which draws are widened
WIDER, WIDEST = 1.35, 8  # by what, and how often at most, until their least is not a told one
DECODED = 30  # best under the sum, of which the pairs choose one
LOOKED_AT = 300  # choices at most, to find those that were not told
WATCHED = (
    24  # budgets, of which the most promising is asked for; of more than so many, some at random
)
INCUMBENTS = 3  # whose neighbours local draws are minimised over
SURE, DRAWN = 0.95, 40  # of a certificate: its probability, the draws that it rests on
TRIED = 400  # draws at most, to find these
BLOCK = 64  # neighbours that are checked against a budget at once


@dataclass(frozen=True)
class Certificate:
    """What could still be gained under a budget, as far as the posterior knows.

    It assumes that the loss is a function (1) of the prior that the evidence tells, without (3) and with
    W = t²M², nowhere below 0, and that the search over its draws finds their least; it says nothing of
    texts that were not looked at.

    Attributes:
        loss: the least that was told. bound: no choice has a smaller loss than this, with a probability
            of :data:`SURE`.
    """

    loss: float
    bound: float

    @property
    def gain(self) -> float:
        """Of the loss, at most, as a share."""
        return 1 - self.bound / max(LEAST, self.loss)


class NaturalGradient(Strategy):
    """Global draws, minimised over all that keeps the budget, and local ones around the best."""

    def __init__(self, errors: Errors, budgets: Sequence[Feasible] = (), *, seed: int) -> None:
        super().__init__(errors, budgets, seed=seed)
        self._prior = Prior(self._errors)
        self._hyper, self._asked = Hyperparameters(), ENOUGH - AGAIN
        self._decoded: dict[int, list[Choice]] = {}
        self._scattered: set[Choice] = set()

    def ask(self, budget: int = 0) -> Choice | None:
        return self.ask_any([budget])

    def ask_each(self, budgets: Sequence[int], count: int, turns: int) -> Iterator[Choice]:
        """At most ``count`` choices, each to be told before the next is asked for: first what promises
        most for any of ``budgets``, then what is expected to be best for each, ``turns`` times; at last
        what the best of each leaves of its budget is spent. Of budgets too many for that, so many
        have their turns, evenly spaced, as half of the choices allow."""
        crowded = turns * len(budgets) > count
        served = budgets[:: math.ceil(2 * turns * len(budgets) / max(1, count)) if crowded else 1]
        own = [budget for _ in range(turns) for budget in served]
        for left in range(count, 0, -1):
            found = self.ask_spent(own[-left]) if left <= len(served) else None
            if found is None:
                found = self.ask_expected(own[-left]) if left <= len(own) else self.ask_any(budgets)
            if found is not None:
                yield found

    def ask_spent(self, budget: int) -> Choice | None:
        """The best of ``budget`` with what it leaves of that spent: nothing is cut more, and what single
        cuts cost says what is cut less. None where nothing is left, or that was told."""
        best = self.best(budget)
        if not best:
            return None
        rows = [row.copy() for row in self._errors]
        for row, level in zip(rows, best[0], strict=True):
            row[level + 1 :] = np.inf
        found = self._budgets[budget].decode(rows)
        return None if found in self._losses else found

    def ask_expected(self, budget: int) -> Choice | None:
        """The choice of least expected loss that keeps ``budget``, of those not told; None where none is
        left. It explores nothing: what was told for one budget is put to use for another."""
        mean, best = self._posterior().mean(), self.best(budget)
        ways = [self._anywhere(mean, budget), *(self._near(mean, budget, one) for one in best)]
        found = [choice for choice in ways if choice is not None]
        return found[int(np.argmin(mean(self._prior.features(found))))] if found else None

    def ask_any(self, budgets: Sequence[int]) -> Choice | None:
        """A choice for that one of ``budgets`` whose best a draw undercuts most, of many for one of some;
        None where nothing is left to be found for any."""
        if len(budgets) > WATCHED:
            budgets = sorted(self._rng.choice(budgets, WATCHED, replace=False).tolist())
        first = self._first_untold(budgets)
        if first is not None:
            return first
        posterior = self._posterior()
        draw = posterior.draw(self._rng)
        found = [self._promising(posterior, draw, budget) for budget in budgets]
        promises = [pair for pair in found if pair is not None]
        return max(promises, key=lambda pair: pair[0])[1] if promises else None

    def _promising(
        self, posterior: Posterior, draw: Draw, budget: int
    ) -> tuple[float, Choice] | None:
        """The choice that minimises a draw anywhere or near the best, and by how much it undercuts it."""
        incumbents = self.best(budget, INCUMBENTS)
        found = None
        if incumbents and self._rng.random() >= GLOBAL:
            around = incumbents[int(self._rng.integers(len(incumbents)))]
            found = self._near(draw, budget, around)
        found = found or self._explored(posterior, draw, budget)
        if found is None:
            return None
        promised = max(LEAST, float(draw.losses(self._prior.features([found]))[0]))
        least = self._losses[incumbents[0]] if incumbents else math.inf
        return math.log(max(LEAST, least) / promised), found

    def _explored(self, posterior: Posterior, draw: Draw, budget: int) -> Choice | None:
        """The least of the draw; where nothing better was found for long, of a wider one if its least is
        known: the posterior may be too sure of what it was not told."""
        found = self._anywhere(draw, budget)
        if not self._is_stale(budget):
            return found
        told = self._prior.features(self.best(budget, len(self._losses)))
        for power in range(1, WIDEST + 1):
            if found is None or min(draw(told)) > draw(self._prior.features([found]))[0]:
                break
            draw = posterior.draw(self._rng).widened(posterior.mean(), WIDER**power)
            found = self._anywhere(draw, budget)
        return found

    def _is_stale(self, budget: int) -> bool:
        told, best = list(self._losses), self.best(budget)
        return bool(best) and len(told) - told.index(best[0]) > STALE

    def certificate(self, budget: int = 0) -> Certificate | None:
        """What could still be gained; None where nothing that was told keeps the budget."""
        incumbents = self.best(budget)
        if not incumbents:
            return None
        best = self._losses[incumbents[0]]
        # A prior that was learned from the losses is surer of the rest than these warrant.
        told = self._told()
        hyper = self._prior.evident(self._hyper, *told, self._rng, learned=False)
        belief = self._prior.belief(hyper, *told, learned=False)
        posterior = Posterior(belief, *told)
        draws = (posterior.draw(self._rng) for _ in range(TRIED))
        every = (self._least(draw, budget, incumbents[0]) for draw in draws)
        # No loss is below 0, so that a draw that is cannot be the loss.
        least = list(islice((loss for loss in every if loss > 0), DRAWN))
        return Certificate(best, float(np.quantile(least, 1 - SURE)) if least else 0.0)

    def _least(self, draw: Draw, budget: int, best: Choice) -> float:
        """Of the draw, as far as it is found, or the loss of ``best`` where that is less."""
        ways = self._anywhere(draw, budget), self._near(draw, budget, best)
        found = [choice for choice in ways if choice is not None]
        return float(
            min([self._losses[best], *(draw.losses(self._prior.features(found)) if found else ())])
        )

    def state(self) -> dict[str, Any]:
        scattered = sorted(map(list, self._scattered))
        return super().state() | {
            "hyper": list(self._hyper), "asked": self._asked, "scattered": scattered
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._hyper, self._asked = Hyperparameters(*state["hyper"]), state["asked"]
        self._scattered = set(map(tuple, state["scattered"]))

    def _first_untold(self, budgets: Sequence[int]) -> Choice | None:
        """Of what the prior decodes to, as long as less is told than the posterior can rest on; then
        scattered choices, as long as the best is one of them."""
        told = len(self._losses)
        if told < len(POWERS):
            firsts = (first for budget in budgets for first in self._firsts(budget))
            found = next((first for first in firsts if first not in self._losses), None)
            if found is not None:
                return found
        return self._scattered_for(budgets[told % len(budgets)])

    def _firsts(self, budget: int) -> list[Choice]:
        """What the prior decodes to, under sums of roots of the errors too."""
        if budget not in self._decoded:
            every = ([row**power for row in self._errors] for power in POWERS)
            found = (self._budgets[budget].decode(errors) for errors in every)
            self._decoded[budget] = [choice for choice in found if choice is not None]
        return self._decoded[budget]

    def _scattered_for(self, budget: int) -> Choice | None:
        """What a prior decodes to that single cuts say nothing of: squares of what is cut, scaled at
        random at every position, as SPDY's (arXiv 2201.13096)."""
        asked = len(self._scattered)
        if asked >= len(self._errors) // 2:
            return None
        if asked >= UNLUCKY and not self._scattered & set(self.best(budget)):
            return None
        scales = self._rng.random(len(self._errors))
        shares = (np.arange(len(row)) / max(1, len(row) - 1) for row in self._errors)
        rows = [scale * np.square(share) for scale, share in zip(scales, shares, strict=True)]
        found = self._budgets[budget].decode(rows)
        if found is None or found in self._losses:
            return None
        self._scattered.add(found)
        return found

    def _anywhere(self, draw: Draw, budget: int) -> Choice | None:
        """Of the best under the sum that were not told yet, the best with the pairs."""
        ranked = islice(self._budgets[budget].ranked(self._prior.rows(draw.linear)), LOOKED_AT)
        found = list(islice((choice for choice in ranked if choice not in self._losses), DECODED))
        if not found:
            return None
        return found[int(np.argmin(draw(self._prior.features(found))))]

    def _near(self, draw: Draw, budget: int, around: Choice) -> Choice | None:
        """The best of what keeps the budget, was not told yet, and differs at one or two positions."""
        changes, gains = self._gains(draw, around)
        order = np.argsort(gains, axis=None, kind="stable")
        order = order[: np.isfinite(gains).sum()]
        for at in range(0, len(order), BLOCK):
            some = np.unravel_index(order[at : at + BLOCK], gains.shape)
            found = np.tile(around, (len(some[0]), 1))
            for which in some:
                position, level = changes[which].T
                found[np.arange(len(found)), position] = level
            fits = self._budgets[budget].fits(found)
            for choice in map(tuple, found[fits].tolist()):
                if choice not in self._losses:
                    return choice
        return None

    def _gains(self, draw: Draw, around: Choice) -> tuple[Array, Array]:
        """Changes (position, level) [n, 2], and what each pair adds to f [n, n]: each pair once, a change
        alone on the diagonal, infinity where two change one position."""
        changes = np.array(
            [
                (p, k)
                for p, row in enumerate(self._errors)
                for k in range(len(row))
                if k != around[p]
            ]
        )
        whole = self._prior.features([around])[0]
        others = np.tile(around, (len(changes), 1))
        others[np.arange(len(changes)), changes[:, 0]] = changes[:, 1]
        apart = self._prior.features(others) - whole
        crossed = apart @ draw.products @ apart.T
        alone = apart @ (draw.linear + 2 * draw.products @ whole) + np.diag(crossed)
        gains = alone[:, None] + alone + 2 * crossed
        gains[np.tri(len(gains), k=-1, dtype=bool)] = np.inf
        gains[changes[:, None, 0] == changes[:, 0]] = np.inf
        np.fill_diagonal(gains, alone)
        return changes, gains

    def _posterior(self) -> Posterior:
        told = self._told()
        count = len(told[1])
        if count >= self._asked + max(AGAIN, self._asked // SELDOM):
            self._hyper = self._prior.evident(self._hyper, *told, self._rng, learned=True)
            self._asked = count
        return Posterior(self._prior.belief(self._hyper, *told, learned=True), *told)

    def _told(self) -> tuple[Array, Array]:
        """Features [n, p] and losses [n] of all that was told."""
        known = self._known()
        losses = np.maximum([self._losses[choice] for choice in known], LEAST)
        return self._prior.features(known), losses

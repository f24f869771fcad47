"""Stochastic natural gradient over independent categories: YOCO-BERT's search, and ASNG.

θ[p] holds the probability of every level at position p; λ choices are drawn and ranked by their losses,
and θ moves along the natural gradient in expectation parameters by a step of fixed Fisher length δ,

    g = (1/λ) Σ_k u_k (onehot_k − θ),   θ ← θ + δ g / ‖s‖,   s = √F g,                       (1)

with utilities u of +1/μ for the best μ = ⌈λ/4⌉ and −1/μ for the worst (YOCO-BERT, Zhang et al. 2021,
arXiv 2106.02435). θ stays above 1/(d (K−1)), so that no level is lost.

Mended here: ties share their mean utility (the released code never sees one), and what is drawn keeps
the budget, exactly as often as θ has it among all that does (elastic.search.gibbs), where the released
code draws any network and scores it with a penalty that is mild near the budget. With δ = 1 `Sng` still
collapses on noise alone, which `Asng` mends (Akimoto et al. 2019, arXiv 1905.08537): it gathers
normalised steps, and where they point nowhere in particular the step shrinks,

    s̄ ← (1−β) s̄ + √(β(2−β)) s/‖s‖,  γ ← (1−β)² γ + β(2−β),  δ ← δ exp(β (‖s̄‖²/α − γ)),     (2)

with β = δ/√n for n free parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from elastic.search.feasible import Feasible
from elastic.search.knapsack import Array, Errors
from elastic.search.strategies.strategy import LEAST, Strategy
from elastic.space import Choice

SAMPLES = 2  # λ
TRIES = 20  # draws until one was not told yet
ALPHA = 1.5


class Sng(Strategy):
    """One θ per budget, uniform at first; what single cuts cost is not looked at."""

    def __init__(self, errors: Errors, budgets: Sequence[Feasible] = (), *, seed: int) -> None:
        self._thetas: list[Theta] = []
        self._drawn: list[list[Choice]] = []
        super().__init__(errors, budgets, seed=seed)

    def add(self, budget: Feasible) -> int:
        self._thetas.append(self._theta([len(row) for row in self._errors]))
        self._drawn.append([])
        return super().add(budget)

    def ask(self, budget: int = 0) -> Choice | None:
        """A choice drawn from θ; where its loss is known it counts for θ, and another is drawn."""
        for _ in range(TRIES):
            self._update(budget)
            logs = [np.log(row) for row in self._thetas[budget].rows]
            choice = self._budgets[budget].sample(logs, self._rng)
            if choice is None:
                return None
            self._drawn[budget].append(choice)
            if choice not in self._losses:
                return choice
        return None

    def state(self) -> dict[str, Any]:
        return super().state() | {
            "thetas": [theta.state() for theta in self._thetas],
            "drawn": [[list(choice) for choice in drawn] for drawn in self._drawn],
        }

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        for theta, kept in zip(self._thetas, state["thetas"], strict=True):
            theta.restore(kept)
        self._drawn = [[tuple(choice) for choice in drawn] for drawn in state["drawn"]]

    def _theta(self, sizes: Sequence[int]) -> Theta:
        return Theta(sizes)

    def _update(self, budget: int) -> None:
        """A step where λ choices were drawn and all are told; those that failed are the worst."""
        drawn = self._drawn[budget]
        if len(drawn) < SAMPLES or not all(choice in self._losses for choice in drawn):
            return
        losses = np.nan_to_num([self._losses[choice] for choice in drawn], nan=np.inf)
        self._thetas[budget].step(drawn, utilities(losses))
        drawn.clear()


class Asng(Sng):
    """With a step that the signal chooses."""

    def _theta(self, sizes: Sequence[int]) -> Theta:
        return AdaptiveTheta(sizes)


class Theta:
    """Independent categories of these sizes, and step (1)."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.rows: list[Array] = [np.full(size, 1 / size) for size in sizes]
        self.length = 1.0  # δ
        free = sum(size > 1 for size in sizes)
        self._least = [1 / (free * (size - 1)) if size > 1 else 1.0 for size in sizes]

    def step(self, choices: Sequence[Choice], utility: Array) -> None:
        """Towards the choices of positive utility."""
        gradient = []
        for row, levels in zip(self.rows, np.array(choices).T, strict=True):
            onehot = np.equal.outer(levels, np.arange(len(row)))
            gradient.append((utility[:, None] * (onehot - row)).mean(0))
        whitened = np.concatenate(
            [_whitened(*pair) for pair in zip(gradient, self.rows, strict=True)]
        )
        norm = float(np.linalg.norm(whitened))
        if norm > LEAST:
            for number, (row, least) in enumerate(zip(self.rows, self._least, strict=True)):
                moved = row + self.length / norm * gradient[number]
                self.rows[number] = _restricted(moved, min(least, 1 / len(row)))
        self._adapt(whitened / max(norm, LEAST))

    def state(self) -> dict[str, Any]:
        return {"rows": [row.tolist() for row in self.rows]}

    def restore(self, state: dict[str, Any]) -> None:
        self.rows = [np.array(row) for row in state["rows"]]

    def _adapt(self, direction: Array) -> None:
        """The length stays."""


class AdaptiveTheta(Theta):
    """With the trust region of (2)."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__(sizes)
        self._gathered = np.zeros(sum(size - 1 for size in sizes))  # s̄
        self._gamma = 0.0

    def state(self) -> dict[str, Any]:
        kept = {"gathered": self._gathered.tolist(), "gamma": self._gamma, "length": self.length}
        return super().state() | kept

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._gathered, self._gamma = np.array(state["gathered"]), state["gamma"]
        self.length = state["length"]

    def _adapt(self, direction: Array) -> None:
        beta = min(1.0, self.length / math.sqrt(max(1, len(direction))))
        self._gathered = (1 - beta) * self._gathered + math.sqrt(beta * (2 - beta)) * direction
        self._gamma = (1 - beta) ** 2 * self._gamma + beta * (2 - beta)
        signal = float(self._gathered @ self._gathered) / ALPHA
        self.length *= math.exp(beta * (signal - self._gamma))


def utilities(losses: Array) -> Array:
    """[λ] -> [λ]: +1/μ for the best μ = ⌈λ/4⌉, −1/μ for the worst; equal losses share their mean."""
    best = math.ceil(len(losses) / 4)
    ranked = np.zeros(len(losses))
    ranked[:best], ranked[len(losses) - best :] = 1 / best, -1 / best
    _, places = np.unique(losses, return_inverse=True)
    ends = np.cumsum([0, *np.bincount(places)])
    shared = np.array([ranked[a:b].mean() for a, b in pairwise(ends)])
    found: Array = shared[places]
    return found


def _whitened(gradient: Array, theta: Array) -> Array:
    """√F g of one position in its first K−1 parameters, where F = diag(1/θ) + 11ᵀ/θ_K."""
    root, last = np.sqrt(theta[:-1]), theta[-1]
    found: Array = gradient[:-1] / root + root * gradient[:-1].sum() / (last + math.sqrt(last))
    return found


def _restricted(theta: Array, least: float) -> Array:
    """Raised to ``least`` at least, what that adds taken from the others in proportion."""
    raised = np.maximum(theta, least)
    room = raised.sum() - len(raised) * least
    if room <= LEAST:
        return np.full(len(raised), 1 / len(raised))
    found: Array = raised - (raised.sum() - 1) * (raised - least) / room
    return found

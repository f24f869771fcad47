"""Exact sampling and marginals of q(x) ∝ exp(Σ log_weights[p][x_p]) under an additive budget.

Forward-backward over the states of the dynamic programme: sums of exponentials where
elastic.search.knapsack takes least sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from devices.errors import UsageError
from elastic.search.knapsack import Array
from elastic.space import Choice


class Gibbs:
    """Choices whose ``units`` come to at most ``capacity``, or less.

    Args:
        log_weights: per position, of each choice; −∞ leaves it out.
        units: per position, of each choice; whole numbers.
    """

    def __init__(self, log_weights: Sequence[Array], units: Sequence[Array], capacity: int) -> None:
        self._weights, self._units = log_weights, units
        self._sums = [np.zeros(max(0, capacity + 1))]  # logarithms, at every budget
        for weights, costs in zip(log_weights, units, strict=True):
            parts = _shifted(self._sums[-1], costs) + np.asarray(weights)[:, None]
            self._sums.append(np.logaddexp.reduce(parts, axis=0))

    def log_sum(self, budget: int) -> float:
        """Of the weights of all that fits into ``budget`` ≤ capacity; −∞ where nothing does."""
        return float(self._sums[-1][budget]) if budget >= 0 else -np.inf

    def sample(self, rng: np.random.Generator, budget: int) -> Choice | None:
        """One choice within ``budget`` ≤ capacity; None where nothing fits."""
        if not np.isfinite(self.log_sum(budget)):
            return None
        chosen: list[int] = []
        for position in reversed(range(len(self._units))):
            shares = self._shares(position, np.array([budget]))[:, 0]
            level = int(rng.choice(len(shares), p=shares / shares.sum()))
            chosen.append(level)
            budget -= int(self._units[position][level])
        return tuple(reversed(chosen))

    def marginals(self, budget: int) -> list[Array]:
        """Per position, the probability of each choice; raises UsageError where nothing fits."""
        if not np.isfinite(self.log_sum(budget)):
            raise UsageError(f"No choice fits into {budget} units; raise the budget.")
        reached = np.zeros(budget + 1)
        reached[budget] = 1.0
        found: list[Array] = []
        for position in reversed(range(len(self._units))):
            budgets = np.flatnonzero(reached)
            flow = self._shares(position, budgets) * reached[budgets]
            found.append(flow.sum(1))
            reached = np.zeros_like(reached)
            for spent, part in zip(self._units[position], flow, strict=True):
                some = part > 0
                np.add.at(reached, budgets[some] - int(spent), part[some])
        return found[::-1]

    def _shares(self, position: int, budgets: Array) -> Array:
        """Probability [choices, n] of each choice where ``budgets`` [n] are left up to this position."""
        before = _shifted(self._sums[position], self._units[position])[:, budgets]
        logs = before + np.asarray(self._weights[position])[:, None]
        shares: Array = np.exp(logs - self._sums[position + 1][budgets])
        return shares


def _shifted(sums: Array, costs: Array) -> Array:
    """[choices, budgets]: ``sums`` of what is left after each cost; −∞ where it is too much."""
    found = np.full((len(costs), len(sums)), -np.inf)
    for row, spent in zip(found, costs, strict=True):
        if spent < len(sums):
            row[spent:] = sums[: len(sums) - spent]
    return found

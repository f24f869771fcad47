"""The sub-networks that keep every limit, and the best of them under additive errors.

A limit is a cost table with what it may come to: latency on a target, at the upper end of its interval
(a chance constraint), or another predicted quantity, as peak memory or file size. The dynamic programme
knows sums alone, and of one cost. So

- several limits are one: whatever keeps them all keeps any weighted sum of their shares (a surrogate
  constraint, Glover 1968). The weights grow where a limit is missed;
- what the law adds to the sums, the regimes of the weights and the interval, is left to the full law:
  the additive budget is tightened by bisection until what it decodes keeps every limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Protocol

import numpy as np

from elastic.search.gibbs import Gibbs
from elastic.search.knapsack import Array, Costs, Errors, Knapsack, cheapest
from elastic.space import Choice

RESOLUTION = 10_000  # units of the weighted limits together
ROUNDS = 8  # of the weights
STEP = 4.0  # of their logarithm, per share by which a limit is missed


class Table(Costs, Protocol):
    """A cost of every choice at every position, as :class:`predictors.cost_table.CostTable` has them."""

    @property
    def base(self) -> int:
        """Units of what is no choice."""

    def budget_units(self, value: float, /) -> int:
        """Whole units that ``value`` has room for."""

    def predict_many(self, choices: Array, /) -> tuple[Array, Array, Array]:
        """Lower, predicted and upper of choices [n, positions]: [n] each."""

    def upper(self, choices: Sequence[int], /) -> float:
        """Upper end of one choice."""


@dataclass(frozen=True, eq=False)
class Limit:
    """What ``table`` may come to: its unit is that of the table, milliseconds or another."""

    table: Table
    value: float

    @property
    def capacity(self) -> int:
        """Units that the choices may spend together, at most all there are; below 0 where none fits."""
        most = sum(int(row.max()) for row in self.table.units)
        return min(most, self.table.budget_units(self.value) - self.table.base)


class Feasible:
    """The choices that keep all of ``limits``, one or more."""

    def __init__(self, *limits: Limit) -> None:
        self._limits = limits

    @property
    def cheapest(self) -> Choice:
        """The choice of least cost at every position, of the first limit."""
        return cheapest(self._limits[0].table)

    def fits(self, choices: Array) -> Array:
        """Booleans [n]: which of ``choices`` [n, positions] keep every limit at its upper end."""
        return np.logical_and.reduce(
            [limit.table.predict_many(choices)[2] <= limit.value for limit in self._limits]
        )

    def fit(self, choice: Choice) -> bool:
        """Whether ``choice`` keeps every limit at its upper end."""
        return bool(self.fits(np.array([choice]))[0])

    def decode(self, errors: Errors) -> Choice | None:
        """The choice of least error; None where not even the cheapest fits."""
        return next(self.ranked(errors), None)

    def ranked(self, errors: Errors) -> Iterator[Choice]:
        """Choices that fit, from the least error on, within the additive budget of the first one."""
        found = self._tightened(errors)
        if found is None:
            least = (cheapest(limit.table) for limit in self._limits)
            yield from dict.fromkeys(choice for choice in least if self.fit(choice))
            return
        knapsack, budget = found
        for block in knapsack.blocks(budget):
            yield from compress(block, self.fits(np.array(block)))

    def sample(self, log_weights: Sequence[Array], rng: np.random.Generator) -> Choice | None:
        """A choice drawn with the product of its weights, given that it fits; None where none is found.

        What the full law finds too slow is drawn again, from a budget that is a hundredth less.
        """
        weights = np.full(len(self._limits), 1 / len(self._limits))
        units, capacity = self._surrogate(weights)
        gibbs = Gibbs(log_weights, units, capacity)
        while (choice := gibbs.sample(rng, capacity)) is not None:
            if self.fit(choice):
                return choice
            capacity -= max(1, capacity // 100)
        return None

    def _tightened(self, errors: Errors) -> tuple[Knapsack, int] | None:
        """A table and the additive budget at which what it decodes fits; of several weights of the limits
        those that decode to the least error. None where none does."""
        weights = np.full(len(self._limits), 1 / len(self._limits))
        best: tuple[Knapsack, int] | None = None
        least = np.inf
        for _ in range(ROUNDS if len(self._limits) > 1 else 1):
            units, capacity = self._surrogate(weights)
            if capacity < 0:
                return None
            knapsack = Knapsack(errors, units, capacity)
            loosest = knapsack.decode(capacity)
            if loosest is None:
                return best
            if self.fit(loosest):  # nothing that keeps every limit has a smaller error
                return knapsack, capacity
            budget = self._bisected(knapsack, sum(int(row.min()) for row in units), capacity)
            if budget is not None and (error := knapsack.least(budget)) < least:
                best, least = (knapsack, budget), error
            used = [limit.table.upper(loosest) / limit.value for limit in self._limits]
            weights *= np.exp(STEP * (np.array(used) - max(used)))
            weights /= weights.sum()
        return best

    def _bisected(self, knapsack: Knapsack, lowest: int, highest: int) -> int | None:
        """The largest budget between these whose choice fits, as far as larger ones cost more."""
        best = None
        while lowest <= highest:
            middle = (lowest + highest) // 2
            choice = knapsack.decode(middle)
            if choice is None or not self.fit(choice):
                highest = middle - 1
            else:
                best, lowest = middle, middle + 1
        return best

    def _surrogate(self, weights: Array) -> tuple[Sequence[Array], int]:
        """Units per position and what they may come to. Several limits are rounded down, so that nothing
        that keeps them all is left out."""
        if min(limit.capacity for limit in self._limits) < 0:
            return [np.zeros(len(row), int) for row in self._limits[0].table.units], -1
        if len(self._limits) == 1:
            [limit] = self._limits
            return limit.table.units, limit.capacity
        scales = [
            RESOLUTION * weight / max(1, limit.capacity)
            for weight, limit in zip(weights, self._limits, strict=True)
        ]
        rows = zip(*(limit.table.units for limit in self._limits), strict=True)
        units = [
            np.floor(sum(s * row for s, row in zip(scales, some, strict=True))).astype(np.int64)
            for some in rows
        ]
        return units, RESOLUTION

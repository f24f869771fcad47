"""The exact optimum of additive errors under an additive budget: multiple-choice knapsack.

Minimise Σ errors[p][x_p] so that Σ units[p][x_p] ≤ budget, by dynamic programming over whole units (as
SPDY does, arXiv 2201.13096). One table gives the optimum for every smaller budget too, and the second
best, the third, and so on. What the full latency law adds, the regimes of the weights and the interval,
is no sum: see elastic.search.feasible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np

from devices.errors import UsageError
from elastic.space import Choice

Array = np.ndarray[Any, Any]
Errors = Sequence[Array]
LARGER = 8  # times as many choices in all, with every further block of them


class Costs(Protocol):
    """Whole units of every choice: of a :class:`predictors.cost_table.CostTable`, or of another cost."""

    @property
    def units(self) -> tuple[Array, ...]:
        """Per position [choices]."""


class Knapsack:
    """The table for all budgets up to ``capacity`` units, which ``units`` are spent from.

    Args:
        errors: per position, of each choice; added up.
        units: per position, of each choice; whole numbers.

    Raises:
        UsageError: errors and units are not of the same choices.
    """

    def __init__(self, errors: Errors, units: Sequence[Array], capacity: int) -> None:
        if [len(row) for row in errors] != [len(row) for row in units]:
            raise UsageError(
                f"Errors of {[len(row) for row in errors]} choices per position do not go with "
                f"costs of {[len(row) for row in units]}; make both for the same search space."
            )
        self._errors, self._units = errors, units
        self._least = [np.zeros(capacity + 1)]
        for error, cost in zip(self._errors, self._units, strict=True):
            self._least.append(_extend(self._least[-1], error, cost))

    def decode(self, budget: int) -> Choice | None:
        """The choice of least error within ``budget`` ≤ capacity units, the first of equals at every
        position from the last on; None where nothing fits."""
        return next(self.ranked(budget), None)

    def least(self, budget: int) -> float:
        """The least error within ``budget`` ≤ capacity units; infinite where nothing fits."""
        return float(self._least[-1][budget])

    def ranked(self, budget: int) -> Iterator[Choice]:
        """Every choice within ``budget`` ≤ capacity units, from the least error on."""
        return chain.from_iterable(self.blocks(budget))

    def blocks(self, budget: int) -> Iterator[list[Choice]]:
        """:meth:`ranked`, in larger and larger blocks."""
        told: set[Choice] = set()
        count = 1
        while len(found := self.best(budget, count)) > len(told):
            block = [choice for choice in map(tuple, found.tolist()) if choice not in told]
            told.update(block)
            yield block
            count *= LARGER

    def best(self, budget: int, count: int) -> Array:
        """The ``count`` choices of least error within ``budget`` ≤ capacity units, the least first,
        [n, positions]; fewer where there are no more.

        Partial choices of the last positions are kept, ``count`` of them: those that come to the least
        with what the table has for the others. As each of these is part of a whole choice that comes to
        just so much, no partial choice that is left out is part of one of the ``count`` best.
        """
        errors, left = np.zeros(1), np.array([budget])
        chosen = np.zeros((1, len(self._units)), dtype=int)
        for position in reversed(range(len(self._units))):
            more = errors[:, None] + self._errors[position]
            spare = left[:, None] - self._units[position]
            least = more + np.where(spare < 0, np.inf, self._least[position][np.maximum(spare, 0)])
            order = np.argsort(least, axis=None, kind="stable")[:count]
            order = order[np.isfinite(least.ravel()[order])]
            rows, levels = np.unravel_index(order, least.shape)
            errors, left, chosen = more[rows, levels], spare[rows, levels], chosen[rows]
            chosen[:, position] = levels
        return chosen


def cheapest(table: Costs) -> Choice:
    """The choice of least cost at every position, the smallest one where costs are equal."""
    return tuple(len(row) - 1 - int(np.argmin(row[::-1])) for row in table.units)


def front(errors: Errors, table: Costs, points: int) -> list[Choice]:
    """The best choices at ``points`` evenly spaced additive budgets up to the dense model's, the
    smallest first and each once. The interval is not looked at."""
    lowest = sum(int(row.min()) for row in table.units)
    highest = sum(int(row.max()) for row in table.units)
    knapsack = Knapsack(errors, table.units, highest)
    budgets = [lowest + round((highest - lowest) * i / points) for i in range(1, points + 1)]
    found = [knapsack.decode(budget) for budget in budgets]
    return list(dict.fromkeys(choice for choice in found if choice is not None))


def _extend(least: Array, errors: Array, units: Array) -> Array:
    """Least error at every budget with one more position."""
    best = np.full_like(least, np.inf)
    for more, spent in zip(errors, units, strict=True):
        if spent < len(least):
            np.minimum(best[spent:], least[: len(least) - spent] + more, out=best[spent:])
    return best

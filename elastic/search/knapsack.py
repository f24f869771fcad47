"""The exact optimum of additive errors under an additive budget: multiple-choice knapsack.

Minimise Σ errors[p][x_p] so that Σ units[p][x_p] ≤ budget, by dynamic programming over whole units (as
SPDY does, arXiv 2201.13096). One table gives the optimum for every smaller budget too, and the second
best, the third, and so on. What the full latency law adds, the regimes of the weights and the interval,
is no sum: see elastic.search.feasible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any

import numpy as np

from devices.errors import UsageError
from elastic.space import Choice
from predictors.cost_table import CostTable

Array = np.ndarray[Any, Any]
Errors = Sequence[Array]
State = tuple[float, int, int, float, int, Choice]
"""A partial choice: its least error, positions that are left, a number, its own error, units that are
left, and what was chosen."""


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
        self._errors = [row.tolist() for row in errors]
        self._units = [row.tolist() for row in units]
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
        """Every choice within ``budget`` ≤ capacity units, from the least error on.

        A* over partial choices of the last positions (Hart et al. 1968): what the others cost at least is
        in the table, so that a choice is found at every position once.
        """
        if budget < 0 or not np.isfinite(self.least(budget)):
            return
        numbers = count()  # of equals the one that was found first
        heap: list[State] = [(self.least(budget), len(self._units), 0, 0.0, budget, ())]
        while heap:
            _, position, _, error, left, chosen = heappop(heap)
            if position == 0:
                yield chosen
                continue
            rows = zip(self._errors[position - 1], self._units[position - 1], strict=True)
            for level, (more, spent) in enumerate(rows):
                if spent > left:
                    continue
                least = error + more + self._least[position - 1][left - spent]
                if np.isfinite(least):
                    own = (error + more, left - spent, (level, *chosen))
                    heappush(heap, (float(least), position - 1, next(numbers), *own))


def cheapest(table: CostTable) -> Choice:
    """The choice of least cost at every position, the smallest one where costs are equal."""
    return tuple(len(row) - 1 - int(np.argmin(row[::-1])) for row in table.units)


def front(errors: Errors, table: CostTable, points: int) -> list[Choice]:
    """The best choices at ``points`` evenly spaced additive budgets up to the dense model's, the
    smallest first and each once. The interval is not looked at."""
    lowest = sum(int(row.min()) for row in table.units)
    highest = sum(int(row.max()) for row in table.units)
    knapsack = Knapsack(errors, table.units, highest)
    budgets = [lowest + round((highest - lowest) * i / points) for i in range(1, points + 1)]
    found = [knapsack.decode(budget) for budget in budgets]
    return list(dict.fromkeys(choice for choice in found if choice is not None))


def _extend(least: Array, errors: Sequence[float], units: Sequence[int]) -> Array:
    """Least error at every budget with one more position."""
    best = np.full_like(least, np.inf)
    for more, spent in zip(errors, units, strict=True):
        if spent < len(least):
            np.minimum(best[spent:], least[: len(least) - spent] + more, out=best[spent:])
    return best

"""The exact optimum of additive errors under an additive budget: multiple-choice knapsack.

Minimise Σ errors[p][x_p] so that base + Σ units[p][x_p] ≤ budget, by dynamic programming over whole
units of time (as SPDY does, arXiv 2201.13096). One table gives the optimum for every smaller budget
too. What the full latency law adds, the regimes of the weights and the interval, is no sum: the
additive budget is tightened until :meth:`CostTable.upper` of what it decodes fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from devices.errors import UsageError
from predictors.cost_table import CostTable

Errors = Sequence[np.ndarray[Any, Any]]
Choice = tuple[int, ...]


class Knapsack:
    """The table for all budgets up to ``capacity`` units, which ``units`` are spent from.

    Args:
        errors: per position, of each choice; added up.
        units: per position, of each choice; whole numbers.

    Raises:
        UsageError: errors and units are not of the same choices.
    """

    def __init__(
        self, errors: Errors, units: Sequence[np.ndarray[Any, Any]], capacity: int
    ) -> None:
        if [len(row) for row in errors] != [len(row) for row in units]:
            raise UsageError(
                f"Errors of {[len(row) for row in errors]} choices per position do not go with "
                f"costs of {[len(row) for row in units]}; make both for the same search space."
            )
        self._units = units
        self._taken: list[np.ndarray[Any, Any]] = []
        least = np.zeros(capacity + 1)
        for error, cost in zip(errors, units, strict=True):
            least, taken = _extend(least, error, cost)
            self._taken.append(taken)
        self._least = least

    def decode(self, budget: int) -> Choice | None:
        """The choice of least error within ``budget`` ≤ capacity units; None where nothing fits."""
        if budget < 0 or not np.isfinite(self._least[budget]):
            return None
        choice = []
        for taken, cost in zip(reversed(self._taken), reversed(self._units), strict=True):
            level = int(taken[budget])
            choice.append(level)
            budget -= int(cost[level])
        return tuple(reversed(choice))


def decode(errors: Errors, table: CostTable, budget_ms: float) -> Choice | None:
    """The choice of least error whose latency fits: additively, and at its interval's upper end.

    Bisects the additive budget, keeping the best choice that fits. None where not even the cheapest
    choice does.
    """
    lowest, highest = _range(table)
    highest = min(highest, table.budget_units(budget_ms) - table.base)
    if highest < lowest:
        return None
    knapsack = Knapsack(errors, table.units, highest)

    def fitting(units: int) -> Choice | None:
        choice = knapsack.decode(units)
        return choice if choice is not None and table.upper(choice) <= budget_ms else None

    best = fitting(highest)
    if best is not None:
        return best
    while lowest <= highest:
        middle = (lowest + highest) // 2
        found = fitting(middle)
        if found is None:
            highest = middle - 1
        else:
            best, lowest = found, middle + 1
    if best is None and table.upper(cheapest(table)) <= budget_ms:
        return cheapest(table)
    return best


def cheapest(table: CostTable) -> Choice:
    """The choice of least cost at every position, the smallest one where costs are equal."""
    return tuple(len(row) - 1 - int(np.argmin(row[::-1])) for row in table.units)


def front(errors: Errors, table: CostTable, points: int) -> list[Choice]:
    """The best choices at ``points`` evenly spaced additive budgets up to the dense model's, the
    smallest first and each once. The interval is not looked at."""
    lowest, highest = _range(table)
    knapsack = Knapsack(errors, table.units, highest)
    budgets = [lowest + round((highest - lowest) * i / points) for i in range(1, points + 1)]
    found = [knapsack.decode(budget) for budget in budgets]
    return list(dict.fromkeys(choice for choice in found if choice is not None))


def _extend(
    least: np.ndarray[Any, Any], error: np.ndarray[Any, Any], cost: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Add one position: least error and level taken at every budget; the first of equals wins."""
    best = np.full_like(least, np.inf)
    taken = np.zeros(len(least), dtype=np.int32)
    for level, (more, spent) in enumerate(zip(error, cost, strict=True)):
        if spent < len(least):
            candidate = least[: len(least) - spent] + more
            better = candidate < best[spent:]
            best[spent:][better] = candidate[better]
            taken[spent:][better] = level
    return best, taken


def _range(table: CostTable) -> tuple[int, int]:
    """Units of the cheapest and of the most expensive choice, base apart."""
    return (
        sum(int(row.min()) for row in table.units),
        sum(int(row.max()) for row in table.units),
    )

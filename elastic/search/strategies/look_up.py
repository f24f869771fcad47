"""NAS-BERT's model selection (Xu et al. 2021, arXiv 2105.14444, §3.3).

The loss of an architecture is looked up as the sum of what its parts cost by themselves, its latency as
that of its operators; the T = 100 of least loss that keep the budget are evaluated whole, and the best is
taken. The paper makes a table of 10^8 rows and filters it; here the T best are found one after the other
in the table of the dynamic programme.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from elastic.search.feasible import Feasible
from elastic.search.knapsack import Errors
from elastic.search.strategies.strategy import Strategy
from elastic.space import Choice


class LookUp(Strategy):
    """The choices of least summed error, from the least on; nothing is learnt from what is told."""

    def __init__(self, errors: Errors, budgets: Sequence[Feasible] = (), *, seed: int) -> None:
        self._ranked: list[Iterator[Choice]] = []
        super().__init__(errors, budgets, seed=seed)

    def add(self, budget: Feasible) -> int:
        self._ranked.append(budget.ranked(self._errors))
        return super().add(budget)

    def ask(self, budget: int = 0) -> Choice | None:
        return next((c for c in self._ranked[budget] if c not in self._losses), None)

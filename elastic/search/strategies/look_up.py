"""NAS-BERT's model selection (Xu et al. 2021, arXiv 2105.14444, §3.3).

The loss of an architecture is looked up as the sum of what its parts cost by themselves, its latency as
that of its operators; the T = 100 of least loss that keep the budget are evaluated whole, and the best is
taken. The paper makes a table of 10^8 rows and filters it; here the T best are found one after the other
in the table of the dynamic programme.
"""

from __future__ import annotations

from collections.abc import Iterator

from elastic.search.strategies.strategy import Strategy
from elastic.space import Choice


class LookUp(Strategy):
    """The choices of least summed error, from the least on; nothing is learnt from what is told."""

    _ranked: dict[int, Iterator[Choice]]

    def ask(self, budget: int = 0) -> Choice | None:
        if not hasattr(self, "_ranked"):
            self._ranked = {}
        ranked = self._ranked.setdefault(budget, self._budgets[budget].ranked(self._errors))
        return next((choice for choice in ranked if choice not in self._losses), None)

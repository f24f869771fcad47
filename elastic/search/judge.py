"""Decoding under errors that do not quite add up.

The dynamic programme needs a sum over modules. Cuts that are small each can be large together: where
layers do alike, as ALBERT's do, the errors of many thin cuts point the same way, and adding up their
divergences says far too little. Sums of a root of the errors, Σ eᵖ with p < 1, charge many small cuts
more beside a few large ones, down to dropping as few sub-layers as possible; p = ½ is exact where all
point the same way, p = 1 where none do. Which of them holds is measured: of the decodings under several
p, and of the encoder without its last sub-layers (Sajjad et al. 2020, arXiv 2004.03844), the one of least
joint divergence is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from elastic.search.knapsack import Choice, Errors, cheapest, decode
from predictors.cost_table import CostTable

POWERS = (1.0, 0.5, 0.25, 0.1)


class Judge:
    """What a choice costs in quality.

    Args:
        errors: per position, of each choice by itself (elastic.search.sensitivity).
        joint: of a whole choice, measured.
    """

    def __init__(self, errors: Errors, joint: Callable[[Choice], float]) -> None:
        self._errors = errors
        self.error = cache(joint)

    def decode(self, table: CostTable, budget_ms: float) -> Choice | None:
        """The choice of least joint error of those that the errors propose and whose latency fits; None
        where not even the cheapest choice does."""
        proposed = [
            decode([row**power for row in self._errors], table, budget_ms) for power in POWERS
        ]
        proposed.append(truncated(table, budget_ms))
        found = dict.fromkeys(choice for choice in proposed if choice is not None)
        return min(found, key=self.error, default=None)


def truncated(table: CostTable, budget_ms: float) -> Choice | None:
    """As many dense sub-layers as fit, and the cheapest choice at every position after them."""
    least = cheapest(table)
    kept = (
        (0,) * count + least[count:]  # choice 0 is dense
        for count in range(len(least), -1, -1)
    )
    return next((choice for choice in kept if table.upper(choice) <= budget_ms), None)

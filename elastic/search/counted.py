"""Multiply-accumulates as a cost, for what knows of no device yet: training, above all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from deploy.architecture import Projection
from deploy.costs import operator_cost
from deploy.workload import Workload
from elastic.search.knapsack import Array
from elastic.space import SearchSpace

RESOLUTION = 1000  # units of all sub-layers of the dense encoder


class CountedTable:
    """Shares of the dense sub-layers' multiply-accumulates, as a :class:`elastic.search.feasible.Table`.

    Attributes:
        whole: multiply-accumulates of all dense sub-layers.

    Args:
        length: of the texts, in tokens.
    """

    base = 0

    def __init__(self, space: SearchSpace, length: int) -> None:
        workload, hidden, rows = Workload(1, length), space.base.hidden, []
        for some in space.choices:
            costs = [op and operator_cost(op, hidden, workload).macs for op in some]
            rows.append(np.array([cost or 0 for cost in costs], dtype=float))
            hidden = next((op.to for op in some if isinstance(op, Projection)), hidden)
        self.whole = sum(float(row[0]) for row in rows)
        self._shares = [row / self.whole for row in rows]

    @cached_property
    def units(self) -> tuple[Array, ...]:
        """Per position [choices], rounded up."""
        return tuple(np.ceil(RESOLUTION * row).astype(np.int64) for row in self._shares)

    def budget_units(self, share: float) -> int:
        """Whole units that fit into ``share``; rounding up is made up for."""
        return int(RESOLUTION * share) + len(self._shares)

    def predict_many(self, choices: Array) -> tuple[Array, Array, Array]:
        """The share of every row of ``choices`` [n, positions], [n], three times: it is exact."""
        found: Array = np.sum(
            [row[chosen] for row, chosen in zip(self._shares, choices.T, strict=True)], axis=0
        )
        return found, found, found

    def upper(self, choices: Sequence[int]) -> float:
        """The share of one."""
        return float(self.predict_many(np.array([choices]))[2][0])

"""A small residual learner: boosted trees of depth 2 on the logarithm of measured over predicted.

No tree falls as any feature grows, nor does their sum, so that what they correct stays monotone in every
width. They are fitted with scikit-learn and kept as numbers; prediction needs numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from predictors.features import Array

TREES = 60
RATE = 0.1  # of its own correction that each tree makes (Friedman 2001, doi 10.1214/aos/1013203451)
LEAST_LEAF = 4  # rows, or a tenth of all
BLOCK = 4096  # rows that are looked up at once
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Trees:
    """ratio = exp(Σ values of the leaves).

    Attributes:
        columns: [trees, 3] features that the root, its left and its right node ask for.
        thresholds: [trees, 3]; a feature above it goes right.
        values: [trees, 4] of the leaves, from the left.
    """

    columns: Array
    thresholds: Array
    values: Array

    def __call__(self, rows: Array) -> Array:
        """Ratio [n] of milliseconds to those predicted, for features [n, p]."""
        # scikit-learn compares in single precision.
        single = rows.astype(np.float32)
        parts = [self._logs(single[at : at + BLOCK]) for at in range(0, len(rows), BLOCK)]
        ratios: Array = np.exp(np.concatenate([np.zeros(0), *parts]))
        return ratios

    @property
    def least(self) -> float:
        """No ratio is smaller."""
        return float(np.exp(self.values.min(1).sum()))

    def _logs(self, rows: Array) -> Array:
        right = rows[:, self.columns] > self.thresholds  # [n, trees, 3]
        second = np.where(right[..., 0], right[..., 2], right[..., 1])
        leaves = 2 * right[..., 0] + second
        found: Array = np.take_along_axis(self.values, leaves.T, 1).sum(0)
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": self.columns.tolist(),
            "thresholds": self.thresholds.tolist(),
            "values": self.values.tolist(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trees:
        columns, thresholds, values = (
            np.array(data[key]) for key in ("columns", "thresholds", "values")
        )
        count = len(columns)
        if (columns.shape, thresholds.shape, values.shape) != ((count, 3), (count, 3), (count, 4)):
            raise ValueError("a residual learner needs three nodes and four leaves for every tree")
        return cls(columns.astype(int), thresholds.astype(float), values.astype(float))


def fit_trees(rows: Array, logs: Array) -> Trees:
    """Trees whose sum explains ``logs`` [n], log(measured / predicted), by features [n, p]."""
    from sklearn.tree import DecisionTreeRegressor

    left = logs.astype(float).copy()
    # As scikit-learn would make them for every tree.
    single = np.ascontiguousarray(rows, dtype=np.float32)
    found = []
    for _ in range(TREES):
        tree = DecisionTreeRegressor(
            max_depth=2,
            min_samples_leaf=max(LEAST_LEAF, len(logs) // 10),
            monotonic_cst=np.ones(rows.shape[1], dtype=int),
            random_state=0,
        ).fit(single, left, check_input=False)
        left -= RATE * tree.predict(single, check_input=False)
        found.append(_nodes(tree.tree_))
    columns, thresholds, values = (np.array(part) for part in zip(*found, strict=True))
    return Trees(columns, thresholds, RATE * values)


def _nodes(tree: Any) -> tuple[list[int], list[float], list[float]]:
    """Columns, thresholds and leaves of a tree; one that ends early goes left for ever."""
    left, right = _below(tree, 0)
    nodes = [0, left, right]
    leaves = [leaf for node in (left, right) for leaf in _below(tree, node)]
    columns = [max(0, int(tree.feature[node])) for node in nodes]
    ends = [tree.children_left[node] < 0 for node in nodes]
    thresholds = [
        LARGEST if end else float(tree.threshold[node])
        for node, end in zip(nodes, ends, strict=True)
    ]
    return columns, thresholds, [float(tree.value[leaf].item()) for leaf in leaves]


def _below(tree: Any, node: int) -> tuple[int, int]:
    left, right = int(tree.children_left[node]), int(tree.children_right[node])
    return (node, node) if left < 0 else (left, right)

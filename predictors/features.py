"""What an encoder's latency is made of: one non-negative column per physical cause.

Every column adds up over the operators of an encoder, except the last ones: what a further MiB of weights
costs depends on which caches hold them all, so that the total is divided among regimes. Each regime has a
cost of its own, which makes that of all weights any rising function of straight pieces, whatever the
machine's caches are, without a threshold to be found. Other quantities have some of the same causes
(predictors.quantity); the columns of the others are zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np

from deploy.architecture import (
    Architecture,
    Attention,
    FeedForward,
    Operator,
    SeparableConvolution,
)
from deploy.costs import (
    OperatorCost,
    embedding_cost,
    embedding_parameters,
    head_cost,
    operator_cost,
)
from deploy.workload import Workload
from devices.errors import UnknownName
from devices.precision import PRECISIONS
from predictors.quantity import LATENCY, Quantity

Array = np.ndarray[Any, Any]

MILLION = 1e6
MIB = 2.0**20
KNOTS = (0, 1, 3, 10, 30, 100, 300)  # MiB, half a decade apart, where a regime begins

COLUMNS = {
    "constant": "1",
    "attentions": "sub-layers",
    "feed_forwards": "sub-layers",
    "convolutions": "sub-layers",
    "gemm": "million MACs on weights, sizes rounded up to the tile",
    "scores": "million MACs between tokens",
    "softmax": "million elements",
    "depthwise": "million elements, whose convolution costs other than its few products",
    "weights": "MiB",
    "activations": "MiB in 4-byte floats, but for the residual stream",
    "residual": "MiB in 4-byte floats of the residual stream, which is added to and normalised",
    "tables": "MiB in 4-byte floats of the whole embedding",
    **{f"weights_from_{knot}": "MiB of all weights, of the part in this regime" for knot in KNOTS},
}
"""Columns of a feature matrix, in order, with their units."""

ADDITIVE = len(COLUMNS) - len(KNOTS)
WEIGHTS, TABLES = (list(COLUMNS).index(name) for name in ("weights", "tables"))


@dataclass(frozen=True)
class Features:
    """How architectures become numbers on one target.

    Attributes:
        precision: decides the bytes of a weight.
        tile: matrix kernels pad the rows and columns of a weight to a multiple of this.
        quantity: that is predicted, whose causes count.

    Raises:
        UnknownName: a precision whose weight size is not known.
    """

    precision: str = "fp32"
    tile: int = 1
    quantity: Quantity = LATENCY

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UnknownName("precision", self.precision, PRECISIONS)

    def operator(self, operator: Operator | None, hidden: int, workload: Workload) -> Array:
        """Additive features [12] of one sub-layer; zeros for a dropped one."""
        if operator is None:
            return np.zeros(ADDITIVE)
        return np.array(_operator_row(operator, hidden, workload, self.precision, self.tile))

    def ends(self, architecture: Architecture, workload: Workload) -> tuple[Array, Array]:
        """Additive features [12] of the embedding, with the constant, and of the head."""
        embedding, head = (
            np.array(_row(cost(architecture, workload), self.precision, self.tile))
            for cost in (embedding_cost, head_cost)
        )
        embedding[0] = 1.0
        embedding[TABLES] = embedding_parameters(architecture) * 4 / MIB
        if self.quantity.stored:
            embedding[WEIGHTS] = 0.0  # the rows that a run reads are part of the tables
        return embedding, head

    @cached_property
    def _counts(self) -> Array:
        """[19]: 1 for the causes of the quantity, 0 for others."""
        additive = [float(name in self.quantity.causes) for name in list(COLUMNS)[:ADDITIVE]]
        return np.array([*additive, *[float(self.quantity.cached)] * len(KNOTS)])

    def chain(self, architecture: Architecture, workload: Workload) -> Array:
        """Additive features [operators + 2, 12]: embedding with the constant, sub-layers, head.

        Weights that sub-layers share are those of the first: after that they are in a cache.
        """
        embedding, head = self.ends(architecture, workload)
        operators = map(
            partial(self.operator, workload=workload), architecture.operators, architecture.widths
        )
        found = np.stack([embedding, *operators, head])
        for place, first in enumerate(architecture.shares):
            if first != place:
                found[1 + place, WEIGHTS] = 0.0
        return found

    def matrix(self, architectures: Iterable[Architecture], workloads: Sequence[Workload]) -> Array:
        """Features [n, 19] of whole encoders."""
        sums = [self.chain(a, w).sum(0) for a, w in zip(architectures, workloads, strict=True)]
        return self.with_regimes(np.reshape(sums, (len(sums), ADDITIVE)))

    def with_regimes(self, additive: Array) -> Array:
        """Append what of the weights lies in each regime, and leave the causes of the quantity alone:
        [n, 12] -> [n, 19]."""
        return self._counts * np.column_stack([additive, in_regimes(additive[:, WEIGHTS])])


def in_regimes(weights: Array) -> Array:
    """MiB [n] of weights -> of these in each regime, [n, 7]."""
    ends = np.array([*KNOTS[1:], np.inf])
    parts: Array = np.clip(weights[:, None], KNOTS, ends) - KNOTS
    return parts


@lru_cache(maxsize=1 << 16)
def _operator_row(
    operator: Operator, hidden: int, workload: Workload, precision: str, tile: int
) -> tuple[float, ...]:
    return _row(operator_cost(operator, hidden, workload), precision, tile)


def _row(cost: OperatorCost, precision: str, tile: int) -> tuple[float, ...]:
    gemm = sum(
        g.m * _round_up(g.k, tile) * _round_up(g.n, tile) * g.count for g in cost.gemms if g.weights
    )
    scores = sum(g.macs for g in cost.gemms if not g.weights)
    return (
        0.0,
        float(cost.kind == Attention.kind),
        float(cost.kind == FeedForward.kind),
        float(cost.kind == SeparableConvolution.kind),
        gemm / MILLION,
        scores / MILLION,
        cost.softmax / MILLION,
        cost.depthwise / MILLION,
        cost.weights * PRECISIONS[precision].weight_bytes / MIB,
        (cost.activations - cost.residual) * 4 / MIB,
        cost.residual * 4 / MIB,
        0.0,
    )


def _round_up(size: int, tile: int) -> int:
    return -(-size // tile) * tile

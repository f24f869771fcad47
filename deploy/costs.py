"""What an architecture costs in closed form: matrix products, parameters, bytes. No measurement.

Source of the counts: the shapes of Vaswani et al. 2017 (arXiv 1706.03762) §3.2–3.3 and Devlin et
al. 2019 (arXiv 1810.04805), counted as deploy.encoder builds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from deploy.architecture import (
    Architecture,
    Attention,
    FeedForward,
    Operator,
    Projection,
    SeparableConvolution,
)
from deploy.workload import Workload
from devices.precision import PRECISIONS


@dataclass(frozen=True)
class Gemm:
    """``count`` products of an [m, k] with a [k, n] matrix; ``weights`` if the second is a weight."""

    m: int
    k: int
    n: int
    count: int = 1
    weights: bool = True

    @property
    def macs(self) -> int:
        return self.m * self.k * self.n * self.count


@dataclass(frozen=True)
class OperatorCost:
    """One operator under one workload; elements, not bytes, so that any precision can be priced.

    Attributes:
        kind: of the operator, or ``embedding`` or ``head``.
        weights: parameters that one run reads (of the embedding tables only the rows used).
        activations: elements written to and read from memory between the operator's steps.
        residual: those of them that are of the residual stream, which is added to and normalised.
        softmax: elements that pass through a softmax.
        depthwise: elements that pass through a depthwise convolution.
    """

    kind: str
    gemms: tuple[Gemm, ...]
    weights: int
    activations: int
    residual: int = 0
    softmax: int = 0
    depthwise: int = 0

    @property
    def macs(self) -> int:
        return sum(gemm.macs for gemm in self.gemms)


def operator_cost(operator: Operator, hidden: int, workload: Workload) -> OperatorCost:
    """Cost of one sub-layer with its residual and LayerNorm; ``hidden`` is what it is given."""
    gemms, softmax, depthwise = _gemms(operator, hidden, workload), 0, 0
    if isinstance(operator, Attention):
        softmax = workload.batch * operator.heads * workload.length**2
    if isinstance(operator, SeparableConvolution):
        depthwise = workload.tokens * hidden
    residual = 0 if isinstance(operator, Projection) else 3 * workload.tokens * hidden
    activations = residual + workload.tokens * _inner(operator, hidden)
    parameters = operator_parameters(operator, hidden)
    return OperatorCost(operator.kind, gemms, parameters, activations, residual, softmax, depthwise)


def _gemms(operator: Operator, hidden: int, workload: Workload) -> tuple[Gemm, ...]:
    tokens, length = workload.tokens, workload.length
    if isinstance(operator, Attention):
        inner, scores = operator.heads * operator.head_dim, workload.batch * operator.heads
        return (
            Gemm(tokens, hidden, inner, count=3),
            Gemm(length, operator.head_dim, length, count=scores, weights=False),
            Gemm(length, length, operator.head_dim, count=scores, weights=False),
            Gemm(tokens, inner, hidden),
        )
    if isinstance(operator, FeedForward):
        up = Gemm(tokens, hidden, operator.width, count=1 + operator.gated)
        return up, Gemm(tokens, operator.width, hidden)
    if isinstance(operator, Projection):
        return (Gemm(tokens, hidden, operator.to),)
    return Gemm(tokens, operator.kernel, hidden), Gemm(tokens, hidden, hidden)


def _inner(operator: Operator, hidden: int) -> int:
    """Elements per token that are not of the residual stream."""
    if isinstance(operator, Attention):
        return 4 * operator.heads * operator.head_dim
    if isinstance(operator, FeedForward):
        return 2 * (1 + operator.gated) * operator.width
    return operator.to if isinstance(operator, Projection) else 2 * hidden


def embedding_cost(architecture: Architecture, workload: Workload) -> OperatorCost:
    a = architecture
    _, columns = a.table
    gemms = (Gemm(workload.tokens, a.rank, a.hidden),) if a.rank else ()
    read = workload.tokens * columns + (workload.length + 1 + a.rank) * a.hidden
    residual = 2 * workload.tokens * a.hidden
    return OperatorCost("embedding", gemms, read, residual, residual)


def head_cost(architecture: Architecture, workload: Workload) -> OperatorCost:
    a = architecture
    rows = workload.tokens if a.per_token else workload.batch
    layers = [Gemm(rows, given, found) for given, found in _head_layers(a)]
    written = sum(layer.n for layer in layers)
    read = head_parameters(a) + (_table_parameters(a) if _tied(a) else 0)
    return OperatorCost("head", tuple(layers), read, rows * (a.widths[-1] + written))


def costs(architecture: Architecture, workload: Workload) -> list[OperatorCost]:
    """Embedding, every sub-layer in order, head."""
    chain = map(
        partial(operator_cost, workload=workload), architecture.operators, architecture.widths
    )
    return [embedding_cost(architecture, workload), *chain, head_cost(architecture, workload)]


def operator_parameters(operator: Operator, hidden: int) -> int:
    """Weights and biases of one sub-layer, LayerNorm included."""
    if isinstance(operator, Attention):
        inner, norm = operator.heads * operator.head_dim, 2 * hidden * operator.normed
        return 4 * hidden * inner + 3 * inner + hidden + norm
    if isinstance(operator, FeedForward):
        linears = 1 + operator.gated
        return (linears + 1) * hidden * operator.width + linears * operator.width + 3 * hidden
    if isinstance(operator, Projection):
        return hidden * operator.to + operator.to
    return operator.kernel * hidden + hidden * hidden + 3 * hidden


def head_parameters(architecture: Architecture) -> int:
    """Weights and biases of the head; the embedding table that a masked language model ends with is
    not the head's own."""
    a = architecture
    if _tied(a):
        return (a.widths[-1] + 3) * a.hidden + a.table[0]
    own = sum(given * found + found for given, found in _head_layers(a))
    return own + (2 * a.widths[-1] if a.normed_head and a.labels else 0)


def _tied(architecture: Architecture) -> bool:
    return architecture.output == "masked-language-model"


def _head_layers(architecture: Architecture) -> list[tuple[int, int]]:
    """Inputs and outputs of the head's linear layers."""
    a, hidden = architecture, architecture.widths[-1]
    if _tied(a):
        rows, columns = a.table
        narrowed = [(a.hidden, a.rank)] if a.rank else []
        return [(hidden, a.hidden), *narrowed, (columns, rows)]
    if not a.labels:
        return []
    last = [(hidden, a.labels)]
    return last if a.per_token and not a.normed_head else [(hidden, hidden), *last]


def parameters(architecture: Architecture) -> int:
    """All parameters of the encoder that deploy.encoder builds; shared ones count once."""
    shares = architecture.shares or range(len(architecture.operators))
    chain = sum(
        operator_parameters(operator, width)
        for place, (operator, width, first) in enumerate(
            zip(architecture.operators, architecture.widths, shares, strict=False)
        )
        if place == first
    )
    last = 2 * architecture.widths[-1] if architecture.norm == "pre" else 0
    return embedding_parameters(architecture) + chain + last + head_parameters(architecture)


def embedding_parameters(architecture: Architecture) -> int:
    """Of the tables of tokens, positions and token types, and the LayerNorm after them."""
    a = architecture
    rows = a.token_types + (a.positions if a.absolute else 0)
    return _table_parameters(a) + (rows + 2) * a.hidden


def _table_parameters(architecture: Architecture) -> int:
    """Of the table of tokens, with what takes it to the hidden size."""
    rows, columns = architecture.table
    return rows * columns + architecture.rank * architecture.hidden


def macs(architecture: Architecture, workload: Workload) -> int:
    """Multiply-accumulates of all matrix products in one run."""
    return sum(cost.macs for cost in costs(architecture, workload))


def weight_bytes(architecture: Architecture, workload: Workload, precision: str) -> int:
    """Bytes of weights that one run reads."""
    return PRECISIONS[precision].weight_bytes * sum(
        cost.weights for cost in costs(architecture, workload)
    )


def activation_bytes(architecture: Architecture, workload: Workload) -> int:
    """Bytes of activations moved in one run, in 4-byte floats."""
    return 4 * sum(cost.activations + cost.softmax for cost in costs(architecture, workload))

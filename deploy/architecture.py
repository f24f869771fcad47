"""The immutable description of one encoder, and nothing that computes with it.

A BERT-family encoder here is an embedding, a chain of operators (sub-layers) and a head. A dropped
sub-layer is absent from the chain, and in this post-norm family its LayerNorm goes with it. All but a
projection add to the residual stream and normalise it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

from devices.errors import UsageError

SCHEMA = 1
ACTIVATIONS = ("gelu", "gelu_new", "relu")
POOLERS = ("tanh", "gelu", "relu")


def _positive(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UsageError(
                f"{type(owner).__name__} {name} must be a whole number of at least 1, not {value!r}."
            )


@dataclass(frozen=True)
class Attention:
    """Multi-head self-attention: ``heads`` heads of ``head_dim`` dimensions each."""

    kind: ClassVar[str] = "attention"
    heads: int
    head_dim: int

    def __post_init__(self) -> None:
        _positive(self, "heads", "head_dim")

    def __str__(self) -> str:
        return f"A{self.heads}"


@dataclass(frozen=True)
class FeedForward:
    """Two linear layers with ``width`` units and an activation between them.

    ``gated``: the activation is multiplied by a linear layer of its own (Shazeer 2020, arXiv
    2002.05202, equation 6).
    """

    kind: ClassVar[str] = "feed_forward"
    width: int
    activation: str = "gelu"
    gated: bool = False

    def __post_init__(self) -> None:
        _positive(self, "width")
        _known(self.activation)

    def __str__(self) -> str:
        return f"{'G' if self.gated else 'F'}{self.width}"


@dataclass(frozen=True)
class SeparableConvolution:
    """A depthwise convolution over ``kernel`` tokens, a pointwise one, and an activation.

    Two in a row are one cell of NAS-BERT (Xu et al. 2021, arXiv 2105.14444, §3.1).

    Raises UsageError for an even ``kernel``, whose output would not lie over its input.
    """

    kind: ClassVar[str] = "separable_convolution"
    kernel: int
    activation: str = "relu"

    def __post_init__(self) -> None:
        _positive(self, "kernel")
        _known(self.activation)
        if self.kernel % 2 == 0:
            raise UsageError(f"A convolution's kernel must be odd, not {self.kernel}.")

    def __str__(self) -> str:
        return f"C{self.kernel}"


@dataclass(frozen=True)
class Projection:
    """A linear layer that takes the residual stream to another hidden size."""

    kind: ClassVar[str] = "projection"
    to: int

    def __post_init__(self) -> None:
        _positive(self, "to")

    def __str__(self) -> str:
        return f"P{self.to}"


def _known(activation: str) -> None:
    if activation not in ACTIVATIONS:
        raise UsageError(
            f"Activation {activation!r} is not supported; use one of {', '.join(ACTIVATIONS)}."
        )


Operator = Attention | FeedForward | SeparableConvolution | Projection
_OPERATORS: dict[str, type[Operator]] = {
    cls.kind: cls for cls in (Attention, FeedForward, SeparableConvolution, Projection)
}


@dataclass(frozen=True)
class Architecture:
    """One encoder.

    Attributes:
        vocabulary, positions, token_types: rows of the three embedding tables.
        hidden: width of the residual stream, up to the first projection.
        operators: the chain of sub-layers, first to last.
        labels: outputs of the classification head (pooler and linear layer on the first token);
            0 means no head: the output is the last hidden state of the first token.
        pooler: activation between the two layers of the head.
        norm_eps: epsilon of every LayerNorm.
    """

    vocabulary: int
    hidden: int
    operators: tuple[Operator, ...]
    positions: int = 512
    token_types: int = 2
    labels: int = 0
    norm_eps: float = 1e-12
    pooler: str = "tanh"

    def __post_init__(self) -> None:
        _positive(self, "vocabulary", "hidden", "positions", "token_types")
        if self.pooler not in POOLERS:
            raise UsageError(
                f"Pooler activation {self.pooler!r} is not supported; use one of {', '.join(POOLERS)}."
            )
        object.__setattr__(self, "operators", tuple(self.operators))

    @cached_property
    def digest(self) -> str:
        """16 hex digits that name this architecture everywhere."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def attentions(self) -> int:
        return sum(isinstance(op, Attention) for op in self.operators)

    @property
    def feed_forwards(self) -> int:
        return sum(isinstance(op, FeedForward) for op in self.operators)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Of the residual stream before each operator, and after the last."""
        found = [self.hidden]
        for op in self.operators:
            found.append(op.to if isinstance(op, Projection) else found[-1])
        return tuple(found)

    def with_operators(self, operators: Iterable[Operator | None]) -> Architecture:
        """The same encoder with another chain; None stands for a dropped sub-layer."""
        return replace(self, operators=tuple(op for op in operators if op is not None))

    def __str__(self) -> str:
        chain = " ".join(map(str, self.operators))
        return f"H{self.hidden}[{chain or 'no sub-layers'}]"

    def to_json(self) -> dict[str, Any]:
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "operators"}
        operators = [{"kind": op.kind, **asdict(op)} for op in self.operators]
        return {"schema": SCHEMA, **data, "operators": operators}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Architecture:
        """Raises UsageError where ``data`` is not an architecture of a known schema."""
        try:
            rest = dict(data)
            schema, chain = rest.pop("schema"), rest.pop("operators")
            if schema != SCHEMA:
                raise UsageError(f"Architecture schema {schema!r} is not known; expected {SCHEMA}.")
            operators = []
            for entry in chain:
                entry = dict(entry)
                operators.append(_OPERATORS[entry.pop("kind")](**entry))
            return cls(operators=tuple(operators), **rest)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UsageError(
                f"This is not an architecture ({type(error).__name__}: {error}); expected the JSON "
                "that `cutonce search` writes as architecture.json."
            ) from error


def uniform(
    layers: int,
    hidden: int,
    heads: int,
    width: int,
    *,
    activation: str = "gelu",
    vocabulary: int = 30522,
    **rest: Any,
) -> Architecture:
    """The ordinary BERT shape: ``layers`` times attention and feed-forward.

    Raises UsageError when ``heads`` does not divide ``hidden``.
    """
    if heads < 1 or hidden % heads:
        raise UsageError(
            f"Hidden size {hidden} is not a multiple of {heads} heads; change one of them."
        )
    layer = (Attention(heads, hidden // heads), FeedForward(width, activation))
    return Architecture(vocabulary=vocabulary, hidden=hidden, operators=layer * layers, **rest)

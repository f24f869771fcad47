"""The immutable description of one encoder, and nothing that computes with it.

A BERT-family encoder here is an embedding, a chain of operators (sub-layers) and a head. A dropped
sub-layer is absent from the chain, and its LayerNorm goes with it. All but a projection add to the
residual stream; the LayerNorm comes after that, or before the sub-layer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

from devices.errors import UsageError

SCHEMA = 1
ACTIVATIONS = ("gelu", "gelu_new", "relu")
_LATER = (
    "shares", "head", "norm", "absolute", "pooling", "normed_head", "window", "rotary", "normed",
    "rank", "rows",
)  # fmt: skip
POOLERS = ("tanh", "gelu", "gelu_new", "relu")
PER_TOKEN = ("token-classification", "question-answering", "masked-language-model")
OUTPUTS = ("embedding", "classification", "multi-label", "regression", *PER_TOKEN)
"""What an encoder's outputs may mean."""


def _described(part: Architecture | Operator) -> dict[str, Any]:
    """The fields of ``part``. Those that came later are left out where they say nothing, so that an
    encoder keeps the digest it always had."""
    return {
        f.name: getattr(part, f.name)
        for f in fields(part)
        if f.name != "operators" and not (f.name in _LATER and getattr(part, f.name) == f.default)
    }


def _positive(owner: object, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UsageError(
                f"{type(owner).__name__} {name} must be a whole number of at least 1, not {value!r}."
            )


@dataclass(frozen=True)
class Attention:
    """Multi-head self-attention: ``heads`` heads of ``head_dim`` dimensions each.

    Attributes:
        window: tokens to either side that a token looks at; None for all.
        rotary: base of the rotary position embedding (Su et al. 2021, arXiv 2104.09864), None without.
        normed: whether the sub-layer has a LayerNorm.
    """

    kind: ClassVar[str] = "attention"
    heads: int
    head_dim: int
    window: int | None = None
    rotary: float | None = None
    normed: bool = True

    def __post_init__(self) -> None:
        _positive(self, "heads", "head_dim")

    def __str__(self) -> str:
        return f"A{self.heads}" + ("" if self.window is None else f"w{self.window}")


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
        vocabulary, positions, token_types: token ids, positions and token types that there may be, each
            with a row of its own in an embedding table.
        rows: of the table of tokens, where several ids share a row; 0 where each has its own.
        rank: columns of the table of tokens, where a linear layer without bias takes them to ``hidden``
            (ROSITA, Liu et al. 2021, arXiv 2103.11367); 0 where it has ``hidden`` columns.
        hidden: width of the residual stream, up to the first projection.
        operators: the chain of sub-layers, first to last.
        labels: outputs of the head: of every token or, by a pooler and a linear layer, of the first;
            0 where there is no head, so that the output is the last hidden state of the first token,
            and where a masked language model gives one for each row of the vocabulary.
        head: what they mean, one of :data:`OUTPUTS`; empty where their number tells, see :attr:`output`.
        pooler: activation between the two layers of the head.
        norm_eps: epsilon of every LayerNorm.
        norm: ``post`` where the sum of a sub-layer and its input is normalised, ``pre`` where its input
            is, and the states after the last one.
        absolute: whether there is a table of positions.
        pooling: what a head that gives one answer reads: the ``first`` token, or the ``mean`` of all.
        normed_head: whether a LayerNorm stands before the head's last layer, and a linear layer with an
            activation before that, on every token too.
        shares: for every operator the first one in the chain whose very weights it uses, itself where
            they are its own (ALBERT, Lan et al. 2020, arXiv 1909.11942); empty where all have their own.
    """

    vocabulary: int
    hidden: int
    operators: tuple[Operator, ...]
    positions: int = 512
    token_types: int = 2
    labels: int = 0
    norm_eps: float = 1e-12
    pooler: str = "tanh"
    shares: tuple[int, ...] = ()
    head: str = ""
    norm: str = "post"
    absolute: bool = True
    pooling: str = "first"
    normed_head: bool = False
    rows: int = 0
    rank: int = 0

    def __post_init__(self) -> None:
        _positive(self, "vocabulary", "hidden", "positions", "token_types")
        if not 0 <= self.rows <= self.vocabulary or not 0 <= self.rank <= self.hidden:
            raise UsageError(
                f"A table of {self.rows} rows and rank {self.rank} does not fit {self.vocabulary} token "
                f"ids and hidden size {self.hidden}; neither may be larger than that, or below 0."
            )
        if self.pooler not in POOLERS:
            raise UsageError(
                f"Pooler activation {self.pooler!r} is not supported; use one of {', '.join(POOLERS)}."
            )
        if self.norm not in ("post", "pre") or self.pooling not in ("first", "mean"):
            raise UsageError(
                f"Norm {self.norm!r} with pooling {self.pooling!r} is not known; expected post or pre, "
                "and first or mean."
            )
        without = self.output in ("embedding", "masked-language-model")
        if self.output not in OUTPUTS or without == bool(self.labels):
            raise UsageError(
                f"A head for {self.output} with {self.labels} labels does not make sense; use one of "
                f"{', '.join(OUTPUTS)}, with labels where it has any."
            )
        object.__setattr__(self, "operators", tuple(self.operators))
        none = tuple(self.shares) == tuple(range(len(self.operators)))
        object.__setattr__(self, "shares", () if none else tuple(self.shares))
        self._check_shares()

    @cached_property
    def digest(self) -> str:
        """16 hex digits that name this architecture everywhere."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def output(self) -> str:
        """What the outputs mean, one of :data:`OUTPUTS`."""
        usual = ("embedding", "regression", "classification")
        return self.head or usual[min(self.labels, 2)]

    @property
    def per_token(self) -> bool:
        """Whether every token has outputs, and not the first alone."""
        return self.output in PER_TOKEN

    @property
    def reads_all(self) -> bool:
        """Whether the head reads every token's state, and not the first alone."""
        return self.per_token or self.pooling == "mean"

    @property
    def table(self) -> tuple[int, int]:
        """Rows and columns of the table of tokens."""
        return self.rows or self.vocabulary, self.rank or self.hidden

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
        """The same encoder with another chain; None stands for a dropped sub-layer.

        Where weights are shared, the chain has one entry per operator, and those that are left as they
        are go on sharing.
        """
        chain = tuple(operators)
        kept = tuple(op for op in chain if op is not None)
        return replace(self, operators=kept, shares=self._still_shared(chain))

    def _still_shared(self, chain: tuple[Operator | None, ...]) -> tuple[int, ...]:
        if not self.shares:
            return ()
        first: dict[int, int] = {}
        shares: list[int] = []
        for dense, group, operator in zip(self.operators, self.shares, chain, strict=True):
            if operator is not None:
                place = len(shares)
                shares.append(first.setdefault(group, place) if operator == dense else place)
        return tuple(shares)

    def _check_shares(self) -> None:
        alike = list(zip(self.operators, self.widths, strict=False))
        if self.shares and not (
            len(self.shares) == len(alike)
            and all(0 <= first <= place for place, first in enumerate(self.shares))
            and all(self.shares[first] == first for first in self.shares)
            and all(alike[first] == alike[place] for place, first in enumerate(self.shares))
        ):
            raise UsageError(
                f"Shares {list(self.shares)} do not fit {self}; expected for every operator the first "
                "one that is like it and whose weights it uses."
            )

    def __str__(self) -> str:
        chain = " ".join(map(str, self.operators))
        return f"H{self.hidden}[{chain or 'no sub-layers'}]"

    def to_json(self) -> dict[str, Any]:
        operators = [{"kind": op.kind, **_described(op)} for op in self.operators]
        return {"schema": SCHEMA, **_described(self), "operators": operators}

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

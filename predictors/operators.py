"""The operator table: what one more of each operator costs, timed in the context of an encoder.

Each row is a difference of stacks: the time of an encoder with some copies of the operator more,
minus that of the encoder without. An operator timed alone keeps its weights in the cache and pays for
a run of its own: sums of such times were off by -15 to +54 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from deploy.architecture import (
    Architecture,
    Attention,
    FeedForward,
    Operator,
    Projection,
    SeparableConvolution,
)

COPIES = 3  # of the operator in its stack
SHARES = (0.25, 0.5, 1.0)  # of the dense number of heads and width
KERNELS = (3, 7)

Interval = tuple[float, float, float]
"""Milliseconds: the value, its lower and its upper end."""


@dataclass(frozen=True)
class Stack:
    """Two encoders whose difference is some copies of an operator.

    Attributes:
        name: of the operator, or ``embedding`` or ``head``.
        tall, base: the encoders; without ``base`` it is all of ``tall``, which costs what an embedding
            does and what any run does.
    """

    name: str
    tall: Architecture
    base: Architecture | None
    copies: int = 1

    def milliseconds(self, took: Mapping[Architecture, Interval]) -> Interval | None:
        """Of one operator, given what encoders took; None where one of the two is missing.

        The ends of the interval are the farthest that those of the encoders allow.
        """
        if self.tall not in took or (self.base and self.base not in took):
            return None
        value, low, high = took[self.tall]
        less, least, most = took[self.base] if self.base else (0.0, 0.0, 0.0)
        return (
            (value - less) / self.copies,
            (low - most) / self.copies,
            (high - least) / self.copies,
        )


def plan_stacks(dense: Architecture) -> list[Stack]:
    """A stack for every kind of operator and size, around one dense encoder of plain operators."""
    bare = replace(dense, operators=(), labels=0, head="", shares=())
    kinds = [op.kind for op in dense.operators]
    context = 1 + kinds.index(FeedForward.kind) if FeedForward.kind in kinds else len(kinds)
    base = bare.with_operators(dense.operators[:context])
    hidden = base.widths[-1]
    chains = [*_operators(dense), (Projection(max(1, hidden // 2)), Projection(hidden))]
    return [
        Stack("embedding", bare, None),
        Stack("head", replace(bare, labels=2), bare),
        *(
            Stack(
                " ".join(map(str, chain)),
                base.with_operators([*base.operators, *chain * COPIES]),
                base,
                COPIES,
            )
            for chain in chains
        ),
    ]


def _operators(dense: Architecture) -> Iterator[tuple[Operator]]:
    """Every operator that is timed, each as a chain of one."""
    attentions = [op for op in dense.operators if isinstance(op, Attention)]
    forwards = [op for op in dense.operators if isinstance(op, FeedForward)]
    for attention in attentions[:1]:
        for heads in _sizes(attention.heads):
            yield (replace(attention, heads=heads),)
    for forward in forwards[:1]:
        for gated in (False, True):
            for width in _sizes(forward.width):
                yield (replace(forward, width=width, gated=gated),)
    for kernel in KERNELS:
        yield (SeparableConvolution(kernel),)


def _sizes(dense: int) -> list[int]:
    return sorted({max(1, round(share * dense)) for share in SHARES})


def operator_table(
    stacks: Iterable[Stack], took: Mapping[Architecture, Interval]
) -> list[dict[str, Any]]:
    """One row of JSON for every stack that was measured."""
    rows = []
    for stack in stacks:
        found = stack.milliseconds(took)
        if found is not None:
            ms, low, high = found
            hidden = stack.tall.widths[-1]
            rows.append(
                {"operator": stack.name, "hidden": hidden, "ms": ms, "interval": [low, high]}
            )
    return rows

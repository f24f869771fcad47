"""NAS-BERT's space: blocks of sub-layers of five kinds, each block of one hidden size.

Source: Xu et al. 2021 (arXiv 2105.14444) §3.1 and table 1. A path is what a block may be: a hidden size
and one to ``length`` kinds; what would follow is the identity, which stands nowhere else, so that of a
BERT-base with 4 blocks of 6 there are 5 · (5 + 5² + … + 5⁶) = 97,650 paths per block. The kinds are
attention, a feed-forward of four times the hidden size, and separable convolutions of 3, 5 or 7 tokens,
each of these two in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from deploy.architecture import (
    Architecture,
    Attention,
    FeedForward,
    Operator,
    Projection,
    SeparableConvolution,
)
from deploy.workload import Workload
from devices.errors import UnknownName, UsageError
from predictors.predictor import LatencyPredictor

KINDS = ("M", "F", "S3", "S5", "S7")
BLOCKS = 4
HIDDEN = (1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3)  # of the teacher's
WIDER = 4  # of a feed-forward, than the hidden size
HEAD = 64  # dimensions
SEARCHED = {  # table 10 of the paper: embedding size, hidden size, sub-layers
    "5M": (64, 192, "S3 S7 M S7 S7 M S3 M S7 S5 M S3"),
    "10M": (128, 384, "S3 S5 M S3 S5 M S7 M S3 S7 M S3"),
}

Price = Callable[[Operator, int], float]
"""Of an operator that is given a hidden size."""


class Path(NamedTuple):
    """What a block may be."""

    hidden: int
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Paths:
    """Those of a teacher.

    Attributes:
        hidden: sizes, the largest first. blocks: how many. length: sub-layers of each at most.
    """

    hidden: tuple[int, ...]
    head_dim: int
    blocks: int
    length: int

    @classmethod
    def of(cls, teacher: Architecture) -> Paths:
        """Hidden sizes are whole heads.

        Raises UsageError where the teacher is no chain of attentions and feed-forwards with a LayerNorm
        after each.
        """
        operators = teacher.operators
        if teacher.norm != "post" or not any(isinstance(op, Attention) for op in operators):
            raise UsageError(
                f"Recipe nas-bert is for encoders with a LayerNorm after every sub-layer, not for "
                f"{teacher}; use --recipe cutonce."
            )
        head = next(op.head_dim for op in operators if isinstance(op, Attention))
        heads = (max(1, round(teacher.hidden * share / head)) for share in reversed(HIDDEN))
        hidden = tuple(dict.fromkeys(count * head for count in heads))
        blocks = next(n for n in range(BLOCKS, 0, -1) if len(operators) % n == 0)
        return cls(hidden, head, blocks, len(operators) // blocks)

    @property
    def count(self) -> int:
        """Of one block."""
        return len(self.hidden) * sum(len(KINDS) ** n for n in range(1, self.length + 1))

    def every(self) -> Iterator[Path]:
        """Each once."""
        for hidden, count in product(self.hidden, range(1, self.length + 1)):
            for kinds in product(KINDS, repeat=count):
                yield Path(hidden, kinds)

    def operators(self, path: Path) -> tuple[Operator, ...]:
        """The chain of one block, between projections."""
        found = (sub_layer(kind, path.hidden, self.head_dim) for kind in path.kinds)
        return tuple(operator for some in found for operator in some)

    def architecture(
        self, teacher: Architecture, chosen: Sequence[Path], rank: int
    ) -> Architecture:
        """``chosen`` for the blocks between the teacher's embedding, of this rank, and its head; a
        projection leads into every block, and one out of the last."""
        chain: list[Operator] = []
        for path in chosen:
            chain += [Projection(path.hidden), *self.operators(path)]
        chain.append(Projection(teacher.hidden))
        return replace(
            teacher, operators=tuple(chain), rank=rank if rank < teacher.hidden else teacher.rank
        )

    def price(self, path: Path, teacher: Architecture, price: Price) -> float:
        """Of a block, with the projection that leads into it."""
        into = price(Projection(path.hidden), teacher.hidden)
        return into + sum(price(operator, path.hidden) for operator in self.operators(path))


def sub_layer(kind: str, hidden: int, head_dim: int = HEAD) -> tuple[Operator, ...]:
    """What a kind of the paper is in a block of this hidden size."""
    if kind == "M":
        return (Attention(hidden // head_dim, head_dim),)
    if kind == "F":
        return (FeedForward(WIDER * hidden),)
    return (SeparableConvolution(int(kind[1:])),) * 2


def searched(name: str, vocabulary: int, labels: int = 0) -> Architecture:
    """A network that the paper found.

    Raises UnknownName for any but those of :data:`SEARCHED`.
    """
    if name not in SEARCHED:
        raise UnknownName("searched network", name, SEARCHED)
    embedding, hidden, kinds = SEARCHED[name]
    chain = (operator for kind in kinds.split() for operator in sub_layer(kind, hidden))
    operators = (Projection(hidden), *chain)
    return Architecture(vocabulary=vocabulary, hidden=embedding, operators=operators, labels=labels)


def timed(predictor: LatencyPredictor, teacher: Architecture, workload: Workload) -> Price:
    """Milliseconds on the predictor's target: the paper's table of operators' latencies.

    An operator takes what an encoder with as many of it as the teacher has sub-layers takes longer than
    one with none, divided by their number: what weights cost depends on how many there are in all. A
    projection takes half of the way there and back.
    """

    def price(operator: Operator, hidden: int) -> float:
        back = (Projection(hidden),) if isinstance(operator, Projection) else ()
        copies = (operator, *back) * len(teacher.operators)
        base = (Projection(hidden),)
        stacks = [
            replace(teacher, operators=chain, shares=()) for chain in (base, (*base, *copies))
        ]
        without, within = predictor.predict(stacks, [workload] * 2)
        return float(within - without) / len(copies)

    return lru_cache(maxsize=None)(price)


def binned(paths: Sequence[Path], prices: Sequence[np.ndarray], bins: int) -> list[list[Path]]:
    """The paths by size: into bin b what costs at most b/B of the most costly path, and more than
    (b−1)/B, under every one of ``prices`` [paths]; what they disagree on is left out, as in §3.3."""
    numbers = [
        np.clip(np.ceil(bins * price / price.max()).astype(int), 1, bins) for price in prices
    ]
    found: list[list[Path]] = [[] for _ in range(bins)]
    for path, *some in zip(paths, *numbers, strict=True):
        if len(set(some)) == 1:
            found[some[0] - 1].append(path)
    return [some for some in found if some]

"""What may vary: at every position of the dense chain, the sizes that a sub-layer may take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from deploy.architecture import Architecture, Attention, FeedForward, Operator, Projection
from devices.errors import UsageError

SCHEMA = 1
WIDTH_STEP = 32  # where no tile size was found
NARROWEST = 16  # the least feed-forward width kept is about a sixteenth of the dense one

Chain = tuple[Operator | None, ...]
"""One entry per position of the dense chain, None for a dropped sub-layer. An Architecture alone
does not say which layer was dropped, so everything that touches weights is told a chain."""

Choice = tuple[int, ...]
"""One index per position into that position's choices; 0 is dense."""


@dataclass(frozen=True)
class SearchSpace:
    """All sub-networks of one dense encoder.

    Attributes:
        base: the dense architecture.
        choices: per position, what may stand there: largest first, None (dropped) last.
    """

    base: Architecture
    choices: tuple[Chain, ...]

    @classmethod
    def around(
        cls,
        dense: Architecture,
        *,
        width_step: int = WIDTH_STEP,
        width_levels: int = 9,
        head_sizes: Sequence[int] = (),
    ) -> Self:
        """Every number of heads, ``width_levels`` widths, and the dropped sub-layer.

        A convolution is kept or dropped, a projection is kept. Widths fall geometrically to a sixteenth
        of the dense one, rounded to multiples of ``width_step``, the tile below which a narrower matrix
        is not faster. Heads may also have any of ``head_sizes`` that is below their own, all of a layer
        the same; not with rotary positions, which are of all their dimensions.

        Raises UsageError where a step, level count or head size is below 1.
        """
        least = min(width_step, width_levels, *head_sizes)
        if least < 1:
            raise UsageError(
                f"Width step {width_step}, width levels {width_levels} and head sizes "
                f"{list(head_sizes)} must be at least 1."
            )
        sizes = (
            _sizes(operator, width_step, width_levels, head_sizes) for operator in dense.operators
        )
        return cls(dense, tuple(map(_choices, dense.operators, sizes)))

    @property
    def size(self) -> int:
        """The exact number of sub-networks."""
        return math.prod(len(some) for some in self.choices)

    @property
    def dense(self) -> Choice:
        """The choice that keeps everything."""
        return (0,) * len(self.choices)

    def chain(self, choice: Sequence[int]) -> Chain:
        """What stands at every position.

        Raises UsageError where ``choice`` is not one valid index per position.
        """
        if len(choice) != len(self.choices) or not all(
            0 <= index < len(some) for index, some in zip(choice, self.choices, strict=True)
        ):
            counts = ", ".join(str(len(some)) for some in self.choices)
            raise UsageError(
                f"Choice {list(choice)} is not of this space; expected one index per position, "
                f"below {counts or 'nothing'}."
            )
        return tuple(some[index] for index, some in zip(choice, self.choices, strict=True))

    def architecture(self, choice: Sequence[int]) -> Architecture:
        """The architecture of one sub-network; raises UsageError as :meth:`chain` does."""
        return self.base.with_operators(self.chain(choice))

    def sample(self, rng: np.random.Generator) -> Choice:
        """A choice drawn uniformly at every position."""
        return tuple(int(rng.integers(len(some))) for some in self.choices)

    def to_json(self) -> dict[str, Any]:
        pairs = zip(self.base.operators, self.choices, strict=True)
        sizes = [[_size(dense, operator) for operator in some] for dense, some in pairs]
        return {"schema": SCHEMA, "base": self.base.to_json(), "sizes": sizes}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Raises UsageError where ``data`` is no search space of a known schema."""
        try:
            if data["schema"] != SCHEMA:
                raise UsageError(
                    f"Search space schema {data['schema']!r} is not known; expected {SCHEMA}."
                )
            base = Architecture.from_json(data["base"])
            pairs = zip(base.operators, data["sizes"], strict=True)
            return cls(base, tuple(_choices(operator, sizes) for operator, sizes in pairs))
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"This is not a search space ({type(error).__name__}: {error}); expected the JSON "
                "that SearchSpace.to_json writes."
            ) from error


def size_of(operator: Operator | None) -> int:
    """Heads of an attention, width of a feed-forward, 1 for what is whole or not there at all, 0 where
    the sub-layer is dropped."""
    match operator:
        case None:
            return 0
        case Attention():
            return operator.heads
        case FeedForward():
            return operator.width
    return 1


def resized(operator: Operator, size: int) -> Operator:
    """The same operator with another number of heads, or width; others stay as they are."""
    match operator:
        case Attention():
            return replace(operator, heads=size)
        case FeedForward():
            return replace(operator, width=size)
    return operator


def is_part(operator: Operator | None, dense: Operator | None) -> bool:
    """Whether ``operator`` is ``dense`` with at most as many units, and heads of at most its size."""
    if operator is None or dense is None:
        return operator is None
    like = resized(dense, size_of(operator))
    if isinstance(operator, Attention) and isinstance(like, Attention) and like.rotary is None:
        like = replace(like, head_dim=min(operator.head_dim, like.head_dim))
    return size_of(operator) <= size_of(dense) and like == operator


def chain_text(chain: Chain, dense: Architecture) -> list[str]:
    """``A4`` for attention with 4 heads, ``A4x16`` where they are smaller than the dense ones, ``F640``
    for a feed-forward of 640, ``-`` for dropped."""
    return [_text(*pair) for pair in zip(chain, dense.operators, strict=True)]


Size = int | tuple[int, int]
"""Units of an operator, 0 where it is dropped; of an attention with other than the dense head size, heads
and that."""


def _choices(operator: Operator, sizes: Iterable[Size | list[int]]) -> Chain:
    return tuple(_with_size(operator, size) for size in sizes)


def _with_size(operator: Operator, size: Size | list[int]) -> Operator | None:
    if isinstance(size, int):
        return resized(operator, size) if size else None
    if not isinstance(operator, Attention):
        raise ValueError(f"size {size} of a sub-layer without heads")
    heads, head_dim = size
    return replace(operator, heads=heads, head_dim=head_dim)


def _size(dense: Operator, operator: Operator | None) -> Size:
    if isinstance(operator, Attention) and operator != resized(dense, operator.heads):
        return operator.heads, operator.head_dim
    return size_of(operator)


def _text(operator: Operator | None, dense: Operator) -> str:
    size = _size(dense, operator)
    smaller = "" if isinstance(size, int) else f"x{size[1]}"
    return "-" if operator is None else f"{operator}{smaller}"


def _sizes(operator: Operator, step: int, levels: int, head_sizes: Sequence[int]) -> list[Size]:
    match operator:
        case Attention():
            return _heads(operator, head_sizes)
        case FeedForward():
            return [*_widths(operator.width, step, levels), 0]
        case Projection():
            return [1]
    return [1, 0]


def _heads(operator: Attention, head_sizes: Sequence[int]) -> list[Size]:
    """The most dimensions first; of equally many those of more heads."""
    counts = range(operator.heads, 0, -1)
    smaller = set() if operator.rotary else {d for d in head_sizes if d < operator.head_dim}
    dims = sorted({operator.head_dim, *smaller}, reverse=True)
    pairs = sorted(
        ((h, d) for h in counts for d in dims), key=lambda pair: (-math.prod(pair), -pair[0])
    )
    return [h if d == operator.head_dim else (h, d) for h, d in pairs] + [0]


def _widths(dense: int, step: int, levels: int) -> list[int]:
    shares = np.geomspace(1, 1 / NARROWEST, levels)[1:]
    rounded = {max(1, round(dense * float(share) / step)) * step for share in shares}
    return [dense, *sorted((width for width in rounded if width < dense), reverse=True)]

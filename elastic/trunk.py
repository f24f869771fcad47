"""What all sub-layers of an encoder have in common, and may be cut: hidden size and table of tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deploy.architecture import Architecture, Projection
from devices.errors import UsageError
from elastic.space import Chain, SearchSpace

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Trunk:
    """Sizes that are kept; None stands for the dense encoder's own.

    Attributes:
        hidden: width of the residual stream between the sub-layers.
        rank: columns of the table of tokens.
        rows: of the table of tokens; ids beyond them share the row of the unknown token.
    """

    hidden: int | None = None
    rank: int | None = None
    rows: int | None = None

    def of(self, dense: Architecture) -> Architecture:
        """``dense`` with these sizes and its whole chain.

        Raises UsageError where it cannot have them.
        """
        rows, columns = dense.table
        _check("rows of the table of tokens", self.rows, rows)
        _check("rank of the table of tokens", self.rank, columns)
        if self.hidden is not None:
            _check("hidden size", self.hidden, stream_width(dense))
        hidden = self.hidden if self.hidden and not is_projected(dense) else dense.hidden
        return replace(
            dense,
            hidden=hidden,
            operators=self.chain(dense.operators),
            rows=self.rows or dense.rows,
            rank=self.rank or dense.rank,
        )

    def space(self, dense: SearchSpace) -> SearchSpace:
        """All sub-networks on it of those of ``dense``, by the same choices.

        Raises UsageError where it cannot have these sizes.
        """
        first = map(self.chain, dense.choices[:1])
        return SearchSpace(self.of(dense.base), (*first, *dense.choices[1:]))

    def chain(self, chain: Chain) -> Any:
        """``chain`` of the dense encoder as it is with this hidden size."""
        if self.hidden is None or not chain or not isinstance(chain[0], Projection):
            return chain
        return (Projection(self.hidden), *chain[1:])


DENSE = Trunk()


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Token ids in the order in which they are worth a row of their own.

    Attributes:
        order: int64 [vocabulary].
        unknown: the id whose row all share that have none of their own; first in ``order``.
    """

    order: Array
    unknown: int

    @classmethod
    def counted(cls, counts: Array, *, unknown: int, always: tuple[int, ...] = ()) -> Vocabulary:
        """The unknown token, those of ``always``, then the most frequent.

        Args:
            counts: [vocabulary], how often each id occurs in the texts that matter.

        Raises UsageError for an id that is not of the vocabulary.
        """
        first = list(dict.fromkeys((unknown, *always)))
        strange = [token for token in first if not 0 <= token < len(counts)]
        if strange:
            raise UsageError(
                f"Token ids {strange} are not of a vocabulary of {len(counts)}; use its tokenizer's."
            )
        worth = np.asarray(counts, dtype=float).copy()
        worth[first] = np.inf
        rest = np.argsort(-worth, kind="stable")[len(first) :]
        return cls(np.concatenate([np.array(first, dtype=np.int64), rest]), unknown)

    def kept(self, rows: int) -> Array:
        """The ids with a row of their own, rising: int64 [rows]."""
        return np.sort(self.order[:rows])

    def merged(self, rows: int) -> Array:
        """For every id the one whose row it has: itself, or the unknown token's; int64 [vocabulary]."""
        found = np.full(len(self.order), self.unknown)
        kept = self.kept(rows)
        found[kept] = kept
        return found

    def row_of(self, rows: int) -> Array:
        """For every id its row in the table of those that are kept; int64 [vocabulary]."""
        return np.searchsorted(self.kept(rows), self.merged(rows))


def is_projected(architecture: Architecture) -> bool:
    """Whether the chain begins with a projection, so that the stream is not as wide as the embedding."""
    return bool(architecture.operators) and isinstance(architecture.operators[0], Projection)


def stream_width(architecture: Architecture) -> int:
    """Width of the residual stream, from the first sub-layer that adds to it to the head.

    Raises UsageError where it has no one width, or is what the encoder gives out.
    """
    rest = architecture.operators[is_projected(architecture) :]
    if any(isinstance(operator, Projection) for operator in rest):
        raise UsageError(
            f"The hidden size of {architecture} changes along its chain; only one that is the same "
            "for all sub-layers can be cut."
        )
    if architecture.output == "embedding":
        raise UsageError(
            "An encoder without a head gives its hidden state out, so its hidden size cannot be cut."
        )
    return architecture.widths[-1]


def _check(what: str, kept: int | None, dense: int) -> None:
    if kept is not None and not 1 <= kept <= dense:
        raise UsageError(f"The {what} cannot be {kept}; expected 1 to {dense}.")

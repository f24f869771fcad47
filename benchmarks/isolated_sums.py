"""A rival of latency predictors: the sum of what the operators take by themselves.

Each is measured alone behind the embedding, at some sizes, and what the embedding takes alone goes off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cutonce.candidates import VOCABULARY
from deploy.architecture import Architecture, Attention, FeedForward, Operator
from deploy.workload import Workload

HEAD = 64  # dimensions
SHARES = (0.25, 0.5, 1.0)  # of a dense operator, that are measured alone

Took = Mapping[tuple[Architecture, Workload], float]


def bare(hidden: int) -> Architecture:
    return Architecture(VOCABULARY, hidden, ())


def lone_operators(hidden: int) -> list[Architecture]:
    """The embedding alone, and behind it one operator at a time."""
    sizes = [(max(1, round(s * hidden / HEAD)), round(4 * s * hidden)) for s in SHARES]
    kinds = [
        kind for heads, width in sizes for kind in (Attention(heads, HEAD), FeedForward(width))
    ]
    return [bare(hidden), *(bare(hidden).with_operators((op,)) for op in dict.fromkeys(kinds))]


def isolated_sum(architecture: Architecture, took: Took, workload: Workload) -> float:
    """What the operators take by themselves, between measured sizes on a straight line."""
    hidden = architecture.hidden
    base = took[bare(hidden), workload]

    def alone(operator: Operator, size: Callable[[Operator], int]) -> float:
        known = {
            size(other.operators[0]): took[other, workload] - base
            for other in lone_operators(hidden)
            if other.operators and isinstance(other.operators[0], type(operator))
        }
        sizes = sorted(known)
        return float(np.interp(size(operator), [0, *sizes], [0.0, *(known[s] for s in sizes)]))

    return base + sum(
        alone(op, lambda o: o.heads if isinstance(o, Attention) else o.width)
        for op in architecture.operators
    )

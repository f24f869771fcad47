"""What to measure: a D-optimal choice of encoders, so that a dozen determine every coefficient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploy.architecture import Architecture
from deploy.costs import macs
from deploy.workload import Workload
from devices.errors import UsageError
from predictors.features import KNOTS, Array, Features

DETERMINED = 12  # encoders that are chosen to determine the law
RIDGE = 1e-4  # on columns scaled to a largest value of 1: keeps the determinant above zero
FAR = 2.0  # times the average leverage among the candidates, beyond which one is unlike the others
# A rough device, only to make rows relative before anything is measured: milliseconds per unit of
# each column, about 20 GMAC/s and 10 GB/s.
ROUGH_MS = np.array(
    [0.05, 0.02, 0.02, 0.02, 0.05, 0.05, 1.0, 4.0, 0.0, 0.1, 0.3, 0.0, *[0.1] * len(KNOTS)]
)


def d_optimal(candidates: Array, n: int, seed: int, include: Sequence[int] = ()) -> list[int]:
    """Indices of ``n`` rows of ``candidates`` [m, p] that determine p coefficients best.

    Greedy maximisation of log det(XᵀX + λI) over columns scaled to a largest value of 1: each step
    takes the row of largest leverage (Fedorov 1972). Rows are relative features: divided by
    a predicted or rough latency. ``include`` comes first; ``seed`` settles ties.

    Raises:
        UsageError: more rows are asked for than there are.
    """
    if not len(include) <= n <= len(candidates):
        raise UsageError(
            f"Cannot choose {n} of {len(candidates)} different encoders; ask for at least "
            f"{len(include)} and at most {len(candidates)}."
        )
    rows = _scaled(candidates)
    order = np.random.default_rng(seed).permutation(len(rows))
    inverse = np.eye(rows.shape[1]) / RIDGE
    chosen: list[int] = []
    for step in range(n):
        gains = np.einsum("ij,jk,ik->i", rows, inverse, rows)
        gains[chosen] = -1.0
        best = include[step] if step < len(include) else int(order[np.argmax(gains[order])])
        chosen.append(best)
        direction = inverse @ rows[best]
        inverse -= np.outer(direction, direction) / (1 + rows[best] @ direction)
    return chosen


def typical(candidates: Array) -> Array:
    """Booleans [m]: which rows of ``candidates`` [m, p] are like the others.

    Their leverage is at most twice the average (Hoaglin & Welsch 1978). A D-optimal choice takes what is
    unlike all others: encoders without a sub-layer, or of one alone. No law holds there as well as where
    encoders are asked for, and a fit to these is worse everywhere.
    """
    rows = _scaled(candidates)
    inverse = np.linalg.inv(rows.T @ rows + RIDGE * np.eye(rows.shape[1]))
    leverages = np.einsum("ij,jk,ik->i", rows, inverse, rows)
    near: Array = leverages <= FAR * leverages.mean()
    return near


def plan(
    candidates: Sequence[Architecture],
    workloads: Workload | Sequence[Workload],
    n: int,
    precision: str,
    seed: int,
) -> list[int]:
    """Indices of ``n`` different candidates to measure.

    The smallest and the largest, then typical ones where there are enough: up to 12 that determine the
    law, after them any, so that leave-one-out tells the error of the usual and not of the chosen.

    Args:
        workloads: one for all candidates, or one for each.

    Raises:
        UsageError: fewer than two are asked for, or more than there are different candidates.
    """
    if isinstance(workloads, Workload):
        workloads = [workloads] * len(candidates)
    if n < 2:
        raise UsageError(
            f"A plan holds the smallest and the largest encoder: n is 2 or more, not {n}."
        )
    pairs = list(zip(candidates, workloads, strict=True))
    distinct = sorted({pair: i for i, pair in reversed(list(enumerate(pairs)))}.values())
    work = [macs(*pairs[i]) for i in distinct]
    ends = list(dict.fromkeys((int(np.argmin(work)), int(np.argmax(work)))))
    rows = relative_rows([pairs[i] for i in distinct], precision)
    near = np.zeros(len(rows), dtype=bool)
    for workload in {workload for _, workload in pairs}:
        # A corner of the grid of workloads is unlike the rest of it, and asked for like the rest.
        alike = np.array([pairs[i][1] == workload for i in distinct])
        near[alike] = typical(rows[alike])
    near[ends] = True
    places = np.flatnonzero(near) if near.sum() >= n else np.arange(len(rows))
    first = np.searchsorted(places, ends).tolist()
    if n > len(places):
        raise UsageError(
            f"Cannot choose {n} of {len(places)} different encoders; ask for fewer, or more shapes."
        )
    chosen = d_optimal(rows[places], min(n, DETERMINED), seed, first)
    others = np.setdiff1d(np.arange(len(places)), chosen)
    chosen += np.random.default_rng(seed).permutation(others)[: n - len(chosen)].tolist()
    return [distinct[places[i]] for i in chosen]


def _scaled(candidates: Array) -> Array:
    """Columns divided by their largest value."""
    largest = candidates.max(0)
    rows: Array = candidates / np.where(largest > 0, largest, 1.0)
    return rows


def relative_rows(pairs: Sequence[tuple[Architecture, Workload]], precision: str) -> Array:
    """Features [n, 19] over rough milliseconds."""
    matrix = Features(precision).matrix([a for a, _ in pairs], [w for _, w in pairs])
    rows: Array = matrix / (matrix @ ROUGH_MS)[:, None]
    return rows

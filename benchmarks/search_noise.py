"""A search that sees few texts, on tables with the losses of single ones: for benchmarks/search.py.

All networks are compared on the same texts. The noise floor is the regret on all texts of the network
that is the very best on the few; a search that ends with its finalists on more texts may come below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import Row
from search_tables import Table, World, priors

from elastic.search.judge import FEW, SEARCH, halved
from elastic.search.knapsack import Array
from elastic.search.strategies.natural_gradient import NaturalGradient

TEXTS, EVALUATIONS = 64, 100
WORSE = 1.5  # times the floor


def noisy(path: Path, seed: int, speedups: Sequence[float]) -> list[list[float]]:
    """Per budget: the noise floor, and the regret of a search on the same texts as it returns its best
    network there, and as it returns the best of its finalists on four times as many."""
    table, found = Table(path), []
    if table.texts is None:
        return []
    rng = np.random.default_rng(seed)
    texts = rng.permutation(table.texts.shape[1])[: SEARCH * TEXTS]
    few = table.texts[:, np.sort(texts[:TEXTS])].mean(1, dtype=float)
    charged = priors(table, seed)["good"][1]
    for speedup in speedups:
        world = World(table, speedup, tuple(np.sort(texts[:TEXTS]).tolist()))
        inside = np.flatnonzero(world.fits(table.choices))
        best = inside[few[inside].argmin()]
        errors = [np.array([world.loss(c) for c in some]) for some in table.single()]
        search = NaturalGradient(errors, [world], seed=seed)
        for _ in range(EVALUATIONS - charged):
            choice = search.ask()
            if choice is None:
                break
            search.tell(choice, world.loss(choice))
        losses = [table.losses[best]]
        losses += [table.loss(search.best()[0]), table.loss(finalist(search, table, texts))]
        found.append([loss / world.optimum - 1 for loss in losses])
    return found


def finalist(search: NaturalGradient, table: Table, texts: Array) -> tuple[int, ...]:
    """As elastic.search.judge chooses."""

    def loss(choice: tuple[int, ...], every: int) -> float:
        [row] = table.rows([choice])
        return float(table.texts[row, np.sort(texts[: len(texts) // every])].mean(dtype=float))

    found = halved(search.best(0, FEW), loss)
    return search.best()[0] if found is None else found


def floor_kept(title: str, found: Array) -> Row:
    floor, plain, best = found.mean(0)
    text = (
        f"{100 * best:.1f} % with {TEXTS} texts and finalists on {SEARCH * TEXTS} ({100 * plain:.1f} % "
        f"without these), noise floor {100 * floor:.1f} %"
    )
    return f"{title}, few texts", text, bool(best <= WORSE * floor)

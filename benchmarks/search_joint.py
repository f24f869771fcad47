"""One search for many targets and budgets beside one for each: for benchmarks/search.py.

The posterior is shared, so that a further budget costs few evaluations. A table has one latency; two
further targets are derived from it, on which attention takes twice as long, or feed-forwards do, unless
the table was measured on several.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import Row
from search_tables import Table, World, priors

from elastic.search.judge import TURNS
from elastic.search.knapsack import Array
from elastic.search.strategies.natural_gradient import NaturalGradient

SINGLE = 50  # evaluations of a single search, those of the prior included
TOTAL_MOST, MORE_MOST = 2.0, 0.01


def joint(path: Path, seed: int, speedups: Sequence[float]) -> list[list[float]]:
    """Per target and budget, the regret of a search of its own and of the one for all."""
    table = Table(path)
    worlds = [World(target, speedup) for target in targets(table) for speedup in speedups]
    errors, charged = priors(table, seed)["good"]
    alone = []
    for world in worlds:
        search = NaturalGradient(errors, [world], seed=seed)
        alone.append(run(search, [world], SINGLE - charged)[0])
    together = NaturalGradient(errors, worlds, seed=seed)
    found = run(together, worlds, int(TOTAL_MOST * SINGLE) - charged)
    return [[one, other] for one, other in zip(alone, found, strict=True)]


def run(search: NaturalGradient, worlds: Sequence[World], evaluations: int) -> list[float]:
    """Regrets after so many evaluations for all budgets."""
    for choice in search.ask_each(range(len(worlds)), evaluations, TURNS):
        search.tell(choice, worlds[0].loss(choice))
    best = [next(iter(search.best(number)), None) for number in range(len(worlds))]
    return [
        np.inf if choice is None else world.table.loss(choice) / world.optimum - 1
        for world, choice in zip(worlds, best, strict=True)
    ]


def targets(table: Table) -> list[Table]:
    return [table, *(table.slower(kind, 2.0) for kind in (0, 1))]


def shared(title: str, found: Array) -> Row:
    """Whether the one search for all is hardly worse than the single ones."""
    alone, together = found.mean(0)
    text = (
        f"regret {100 * together:.1f} % with {TOTAL_MOST:.0f} times one search's evaluations, single "
        f"searches {100 * alone:.1f} %"
    )
    return f"{title}, one run for all budgets", text, bool(together <= alone + MORE_MOST)

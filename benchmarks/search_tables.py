"""Exhaustive tables of the sub-networks of real trained models, as worlds to search in."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from elastic.search.gibbs import Gibbs
from elastic.search.knapsack import Array, Errors, Knapsack
from elastic.space import Choice

COVERED = 0.95  # of the networks keep a budget that the sums say they keep
ROUNDED = 5e-3  # by which whole microseconds may miss what is a sum


class Table:
    """A file with a row per network: heads{l} and ffn{l} kept in layer l, latency_us, a column per loss.

    Positions are attention 0, feed-forward 0, attention 1, ...; levels from the largest size down. The
    dynamic programme is given the sums nearest to the latencies. Some of these miss them, hence
    ``margin``: 95 % of the networks take at most so much more than their sum, as a share.

    Attributes:
        texts: loss [networks, texts] on single texts, where a file beside the table has it.
    """

    def __init__(self, path: Path, loss: str = "kl_test") -> None:
        rows = pd.read_csv(path)
        beside = path.with_name(path.name.removesuffix(".csv.gz") + ".npy")
        self.texts = np.load(beside, mmap_mode="r") if beside.exists() else None
        layers = sum(str(name).startswith("ffn") for name in rows.columns)
        columns = [f"{kind}{layer}" for layer in range(layers) for kind in ("heads", "ffn")]
        sizes = [sorted(rows[column].unique(), reverse=True) for column in columns]
        self.levels = [len(some) for some in sizes]
        self.choices = np.stack(
            [[some.index(v) for v in rows[c]] for c, some in zip(columns, sizes, strict=True)],
            axis=1,
        )
        self.losses = rows[loss].to_numpy(dtype=float)
        self.latency = rows["latency_us"].to_numpy(dtype=float)
        self._place = {tuple(choice): i for i, choice in enumerate(self.choices.tolist())}

    def loss(self, choice: Choice) -> float:
        return float(self.losses[self._place[choice]])

    @property
    def dense(self) -> float:
        """Latency of the dense network."""
        return float(self.latency[self._place[(0,) * len(self.levels)]])

    @cached_property
    def errors(self) -> Errors:
        """Loss of every network in which one position alone is cut."""
        return [np.array([self.loss(c) for c in some]) for some in self.single()]

    @cached_property
    def units(self) -> list[Array]:
        """Whole microseconds of every level beside the fastest of its position."""
        return [np.rint(row - row.min()).astype(np.int64) for row in self._took]

    @cached_property
    def base(self) -> int:
        """Microseconds of the network of which every position is fastest."""
        return round(self._law[0] + sum(row.min() for row in self._took))

    @cached_property
    def margin(self) -> float:
        law = self.base + self.cost(self.choices)
        return max(0.0, float(np.quantile(self.latency / law - 1, COVERED)) - ROUNDED)

    def slower(self, kind: int, factor: float) -> Table:
        """The same networks on a device on which attention (0) or feed-forwards (1) take ``factor`` times
        as long as the sums say."""
        found = copy.copy(self)
        for name in ("units", "base", "margin", "_law", "_took", "errors"):
            vars(found).pop(name, None)
        pairs = list(zip(self._took, self.choices.T, strict=True))[kind::2]
        more = sum((row - row.min())[levels] for row, levels in pairs)
        found.latency = self.latency + (factor - 1) * more
        return found

    def cost(self, choices: Array) -> Array:
        """[n, positions] -> units [n]."""
        parts = zip(self.units, np.asarray(choices).T, strict=True)
        found: Array = sum(row[levels] for row, levels in parts)
        return found

    def over(self, choices: Sequence[Choice], limit: float) -> Array:
        """Booleans [n]: which take more than ``limit`` microseconds."""
        found: Array = self.latency[self.rows(choices)] > limit
        return found

    def rows(self, choices: Sequence[Choice]) -> list[int]:
        return [self._place[choice] for choice in choices]

    @cached_property
    def _law(self) -> Array:
        """Least squares of the latencies: of the dense network, and what every other level adds."""
        levels = zip(self.choices.T, self.levels, strict=True)
        columns = [row == level for row, count in levels for level in range(1, count)]
        design = np.stack([np.ones(len(self.latency)), *columns], axis=1)
        found: Array = np.linalg.lstsq(design, self.latency, rcond=None)[0]
        return found

    @cached_property
    def _took(self) -> list[Array]:
        """Per position what every level adds to the dense network."""
        ends = np.cumsum([count - 1 for count in self.levels])
        return [np.append(0.0, part) for part in np.split(self._law[1:], ends[:-1])]

    def single(self) -> Iterator[list[Choice]]:
        """Per position the networks in which it alone is cut, the dense one first."""
        for position, count in enumerate(self.levels):
            yield [
                tuple(level if p == position else 0 for p in range(len(self.levels)))
                for level in range(count)
            ]


@dataclass(frozen=True, eq=False)
class World:
    """One table under one budget: ``speedup`` times faster than dense.

    It is what elastic.search.feasible.Feasible is to a strategy, with latency as a sum.

    Attributes:
        texts: rows of the table's single texts that the search is told the loss on; None for all.
    """

    table: Table
    speedup: float
    texts: tuple[int, ...] | None = None

    @cached_property
    def limit(self) -> float:
        """Microseconds."""
        return self.table.dense / self.speedup

    @cached_property
    def capacity(self) -> int:
        return int(self.limit / (1 + self.table.margin)) - self.table.base

    def loss(self, choice: Choice) -> float:
        """What the search is told."""
        if self.texts is None:
            return self.table.loss(choice)
        [row] = self.table.rows([choice])
        return float(self.table.texts[row, list(self.texts)].mean(dtype=float))

    @cached_property
    def optimum(self) -> float:
        return float(self.table.losses[self.fits(self.table.choices)].min())

    def fits(self, choices: Array) -> Array:
        found: Array = self.table.cost(choices) <= self.capacity
        return found

    def fit(self, choice: Choice) -> bool:
        return bool(self.fits(np.array([choice]))[0])

    def points(self, choices: Sequence[Choice]) -> list[tuple[float, float]]:
        """Microseconds and loss of those that keep the budget."""
        kept = [c for c in dict.fromkeys(choices) if self.fit(c)]
        rows = self.table.rows(kept)
        return list(zip(self.table.latency[rows], self.table.losses[rows], strict=True))

    def ranked(self, errors: Errors) -> Iterator[Choice]:
        return Knapsack(errors, self.table.units, self.capacity).ranked(self.capacity)

    def decode(self, errors: Errors) -> Choice | None:
        return next(self.ranked(errors), None)

    def sample(self, log_weights: Sequence[Array], rng: np.random.Generator) -> Choice | None:
        return Gibbs(log_weights, self.table.units, self.capacity).sample(rng, self.capacity)


def priors(table: Table, seed: int) -> dict[str, tuple[Errors, int]]:
    """Errors by name, and the evaluations they took: as measured, none, and of another layer each."""
    taken = sum(count - 1 for count in table.levels)
    flat = [np.where(np.arange(count) > 0, 1.0, 0.0) for count in table.levels]
    layers = np.random.default_rng(seed).permutation(len(table.levels) // 2)
    permuted = [table.errors[2 * layer + kind] for layer in layers for kind in (0, 1)]
    return {"good": (table.errors, taken), "flat": (flat, 0), "misleading": (permuted, taken)}


def regrets(
    world: World, told: Sequence[Choice], marks: Sequence[int], charged: int
) -> list[float]:
    """(least loss found − optimum) / optimum after so many evaluations, those of the prior included."""
    least, found, count = np.inf, [], charged
    curve: dict[int, float] = {}
    for choice in told:
        count += 1
        least = min(least, world.table.loss(choice) if world.fit(choice) else np.inf)
        curve[count] = least
    for mark in marks:
        reached = [value for at, value in curve.items() if at <= mark]
        found.append(reached[-1] / world.optimum - 1 if reached else np.inf)
    return found


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Area of what is worse in both than one of ``points`` and better than ``reference``."""
    area, least = 0.0, reference[1]
    inside = sorted(p for p in points if p[0] < reference[0] and p[1] < reference[1])
    for first, second in inside:
        if second < least:
            area += (reference[0] - first) * (least - second)
            least = second
    return area


def summary(values: Array, seed: int = 0) -> dict[str, Any]:
    """Mean and its 95 % interval by bootstrap."""
    rng = np.random.default_rng(seed)
    means = rng.choice(values, (2000, len(values))).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}

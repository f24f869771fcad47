"""Exhaustive tables of the sub-networks of real trained models, as worlds to search in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from elastic.search.gibbs import Gibbs
from elastic.search.knapsack import Array, Errors, Knapsack
from elastic.space import Choice


class Table:
    """A file with a row per network: heads{l} and ffn{l} kept in layer l, latency_us, a column per loss.

    Positions are attention 0, feed-forward 0, attention 1, ...; levels from the largest size down.
    """

    def __init__(self, path: Path, loss: str = "kl_test") -> None:
        rows = pd.read_csv(path)
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
        return [np.array([self.loss(c) for c in some]) for some in self._single()]

    @cached_property
    def units(self) -> list[Array]:
        """Whole microseconds of every level beside the fastest of its position."""
        took = [np.array([self.latency[self._place[c]] for c in some]) for some in self._single()]
        return [np.rint(row - row.min()).astype(np.int64) for row in took]

    @cached_property
    def base(self) -> int:
        """Microseconds of the network of which every position is fastest."""
        return round(self.dense) - sum(int(row[0]) for row in self.units)

    def _single(self) -> Iterator[list[Choice]]:
        for position, count in enumerate(self.levels):
            yield [
                tuple(level if p == position else 0 for p in range(len(self.levels)))
                for level in range(count)
            ]


@dataclass(frozen=True, eq=False)
class World:
    """One table under one budget: ``speedup`` times faster than dense.

    It is what elastic.search.feasible.Feasible is to a strategy: the latency of these tables is a sum.
    """

    table: Table
    speedup: float

    @cached_property
    def capacity(self) -> int:
        return int(self.table.dense / self.speedup) - self.table.base

    @cached_property
    def optimum(self) -> float:
        return float(self.table.losses[self.fits(self.table.choices)].min())

    def cost(self, choices: Array) -> Array:
        """[n, positions] -> units [n]."""
        parts = zip(self.table.units, np.asarray(choices).T, strict=True)
        found: Array = sum(row[levels] for row, levels in parts)
        return found

    def fits(self, choices: Array) -> Array:
        found: Array = self.cost(choices) <= self.capacity
        return found

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
    world: World, told: Iterator[Choice], marks: Sequence[int], charged: int
) -> list[float]:
    """(least loss found − optimum) / optimum after so many evaluations, those of the prior included."""
    least, found, count = np.inf, [], charged
    curve: dict[int, float] = {}
    for choice in islice(told, max(0, max(marks) - charged)):
        count += 1
        least = min(
            least, world.table.loss(choice) if world.fits(np.array([choice]))[0] else np.inf
        )
        curve[count] = least
    for mark in marks:
        reached = [value for at, value in curve.items() if at <= mark]
        found.append(reached[-1] / world.optimum - 1 if reached else np.inf)
    return found


def summary(values: Array, seed: int = 0) -> dict[str, Any]:
    """Mean and its 95 % interval by bootstrap."""
    rng = np.random.default_rng(seed)
    means = rng.choice(values, (2000, len(values))).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}

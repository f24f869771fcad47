"""One model for a thousand devices, by simulation: for benchmarks/fleet.py.

The devices are fake ones of differing physics, the model's losses are those of an exhaustive table. A few
devices are profiled, every other is measured five times; one search serves all budgets of all of them.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Row
from search_tables import Table

from deploy.architecture import Architecture, Attention, FeedForward, Operator, uniform
from deploy.exporters.to_fake import cost_list
from deploy.workload import Workload
from devices.runtimes.fake_runtime import FakeSession, Physics, fake_milliseconds
from elastic.search.feasible import Feasible, Limit
from elastic.search.strategies.natural_gradient import NaturalGradient
from elastic.space import Choice
from predictors.planner import Planner
from predictors.predictor import LatencyPredictor

DENSE = uniform(4, 192, 4, 768, vocabulary=8000, positions=64, labels=2)
SIZES = ((4, 2, 0), (768, 192, 0))  # heads and feed-forward widths of the table, in every layer
WORKLOAD = Workload(1, 64)
PROFILED, CONFIGURATIONS, MEASURED, HELD_OUT = 12, 14, 5, 20
SPEEDUPS = (1.25, 1.5, 2.0, 3.0)
EVALUATIONS, TURNS, VISITS, RUNS = 200, 2, 9, 3
MINUTES, GIGABYTES, ERROR, HELD = 10.0, 4.0, 0.05, 0.95


@dataclass(frozen=True)
class Scale:
    """What came out for ``devices``: seconds of all, of which the search took ``searching``.

    Attributes:
        errors: median over a device's held-out networks, of every device.
        held: share of the networks found that keep their budget. unreachable: budgets without one.
    """

    devices: int
    seconds: float
    searching: float
    evaluations: int
    errors: list[float]
    held: float
    unreachable: int


def at_scale(count: int, table: Table, seed: int) -> Scale:
    began = time.monotonic()
    networks = Networks(table)
    seeds = range(seed, seed + PROFILED + count)
    known = [profiled(networks, one) for one in seeds[:PROFILED]]
    asked = np.random.default_rng(seed).choice(len(table.choices), HELD_OUT, replace=False)
    with ProcessPoolExecutor() as pool:
        fitted = list(pool.map(partial(measured, networks, known), seeds[PROFILED:], chunksize=8))
    errors = [off(networks, p, one, asked) for p, one in zip(fitted, seeds[PROFILED:], strict=True)]
    searching = time.monotonic()
    limits = [
        (device, law(networks.dense, device) / speedup)
        for device in seeds[PROFILED:]
        for speedup in SPEEDUPS
    ]
    tables = [p.table(DENSE, networks.levels, WORKLOAD) for p in fitted for _ in SPEEDUPS]
    budgets = [Feasible(Limit(costs, ms)) for costs, (_, ms) in zip(tables, limits, strict=True)]
    search = NaturalGradient(table.errors, budgets, seed=seed)
    for choice in search.ask_each(range(len(budgets)), EVALUATIONS, TURNS):
        search.tell(choice, table.loss(choice))
    found = [next(iter(search.best(number)), None) for number in range(len(budgets))]
    kept = [
        law(networks.of(choice), device) <= ms
        for choice, (device, ms) in zip(found, limits, strict=True)
        if choice is not None
    ]
    now = time.monotonic()
    return Scale(
        count, now - began, now - searching, len(search.losses), errors, float(np.mean(kept)),
        found.count(None),
    )  # fmt: skip


class Networks:
    """The architectures of a table's networks."""

    def __init__(self, table: Table) -> None:
        heads, widths = SIZES
        dim = DENSE.operators[0].head_dim
        attention = [Attention(size, dim) if size else None for size in heads]
        feed = [FeedForward(size, "gelu") if size else None for size in widths]
        self.levels: list[Sequence[Operator | None]] = [attention, feed] * (len(table.levels) // 2)
        self.choices = [tuple(row) for row in table.choices.tolist()]
        self.dense = self.of((0,) * len(table.levels))

    def of(self, choice: Choice) -> Architecture:
        chain = [some[level] for some, level in zip(self.levels, choice, strict=True)]
        return DENSE.with_operators([operator for operator in chain if operator is not None])


def law(architecture: Architecture, device: int) -> float:
    """Milliseconds, without noise."""
    return fake_milliseconds(
        costs_of(architecture), Physics.of(device), 1, WORKLOAD.batch, WORKLOAD.length
    )


@cache
def costs_of(architecture: Architecture) -> dict[str, Any]:
    return cost_list(architecture, "fp32")


def took(architecture: Architecture, device: int) -> float:
    """Milliseconds as they are measured: the least of a few visits, with the device's disturbances."""
    session = FakeSession(_Silent(), costs_of(architecture), device, 1)  # type: ignore[arg-type]
    inputs = {"input_ids": np.zeros((WORKLOAD.batch, WORKLOAD.length), dtype=np.int64)}
    before, least = 0, np.inf
    for _ in range(VISITS * RUNS):
        session.run(inputs)
        now = session.clock()
        least, before = min(least, now - before), now
    return least / 1e6


class _Silent:
    """What the fake session would answer with."""

    def run(self, _inputs: Any) -> list[Any]:
        return []


def profiled(networks: Networks, device: int) -> LatencyPredictor:
    return fit(networks, device, CONFIGURATIONS, ())


def measured(
    networks: Networks, known: Sequence[LatencyPredictor], device: int
) -> LatencyPredictor:
    return fit(networks, device, MEASURED, known)


def fit(
    networks: Networks, device: int, count: int, known: Sequence[LatencyPredictor]
) -> LatencyPredictor:
    encoders = planned(networks, count)
    ms = [took(encoder, device) for encoder in encoders]
    return LatencyPredictor().fit(encoders, [WORKLOAD] * count, ms, known=known)


_PLANNED: dict[int, list[Architecture]] = {}


def planned(networks: Networks, count: int) -> list[Architecture]:
    """The networks that tell most, the same on every device."""
    if count not in _PLANNED:
        every = [networks.of(choice) for choice in networks.choices[::7]]
        planner = Planner(every, [WORKLOAD] * len(every), "fp32", first=count, seed=0)
        _PLANNED[count] = [every[place] for place in planner.ask(count)]
    return _PLANNED[count]


def off(
    networks: Networks, predictor: LatencyPredictor, device: int, asked: Sequence[int]
) -> float:
    """Median error on networks that were not chosen."""
    encoders = [networks.of(networks.choices[place]) for place in asked]
    predicted = predictor.predict(encoders, [WORKLOAD] * len(encoders))
    true = np.array([law(encoder, device) for encoder in encoders])
    return float(np.median(np.abs(predicted / true - 1)))


def scale_rows(data: Path, seed: int, counts: Sequence[int]) -> tuple[list[Row], list[Scale]]:
    """For growing numbers of devices; judged by the last."""
    table = Table(data / "search_tables" / "table_a.csv.gz")
    found = []
    for count in counts:
        one = at_scale(count, table, seed)
        found.append(one)
        print(
            f"{count} devices, {count * len(SPEEDUPS)} budgets: {one.seconds:.0f} s, of which "
            f"{one.searching:.0f} s searching, {one.evaluations} evaluations, error "
            f"{100 * np.mean(one.errors):.1f} %, {100 * one.held:.1f} % of budgets held, "
            f"{one.unreachable} out of reach",
            flush=True,
        )
    last = found[-1]
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = sum(resource.getrusage(one).ru_maxrss for one in who) * 1024 / 1e9
    name = f"{last.devices} devices x {len(SPEEDUPS)} budgets"
    rows = [
        (f"{name}, minutes", f"{last.seconds / 60:.1f}", last.seconds <= 60 * MINUTES),
        (f"{name}, memory", f"{peak:.1f} GB", peak <= GIGABYTES),
        (f"{name}, error after {MEASURED} measurements", f"{100 * np.mean(last.errors):.1f} %",
         bool(np.mean(last.errors) <= ERROR)),
        (f"{name}, budgets held", f"{100 * last.held:.1f} %", last.held >= HELD),
    ]  # fmt: skip
    return rows, found

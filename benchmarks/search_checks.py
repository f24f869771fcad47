"""What a search says of itself, and how its parts behave: for benchmarks/search.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from common import Row
from rival_searches import released_utilities
from search_tables import Table, World, priors

from elastic.search.knapsack import Array, Knapsack
from elastic.search.strategies.natural_gradient import SURE, NaturalGradient
from elastic.search.strategies.sng import SAMPLES, AdaptiveTheta, Theta, utilities

SIZES = [4, *[12] * 12]  # YOCO-BERT's space: layers, then heads and width of every layer
UPDATES, REPEATS = (100, 300), 20
BUCKETS, DECODED = 10_000, 0.050
ENCODER = [13, 23] * 12  # levels of a 12-layer encoder: heads, widths, dropped


def certificates(path: Path, seed: int, speedups: Sequence[float], after: int) -> list[list[float]]:
    """Of the natural gradient with a good prior after so many evaluations, per budget: the least loss
    found and the certificate's bound, over the optimum."""
    table, found = Table(path), []
    errors, charged = priors(table, seed)["good"]
    for speedup in speedups:
        world = World(table, speedup)
        search = NaturalGradient(errors, [world], seed=seed)
        for _ in range(max(1, after - charged)):
            choice = search.ask()
            if choice is None:
                break
            search.tell(choice, world.loss(choice))
        certificate = search.certificate()
        if certificate is not None:
            found.append([certificate.loss / world.optimum, certificate.bound / world.optimum])
    return found


def certified(title: str, found: Array) -> Row:
    """Whether no more of the bounds lie above the optimum than they admit."""
    losses, bounds = found.T
    held = float(np.mean(bounds <= 1 + 1e-9))
    gain = np.mean(1 - bounds / losses)
    text = (
        f"{100 * held:.0f} % of {len(found)} bounds hold, {100 * SURE:.0f} % wanted; what could be "
        f"gained is said to be {100 * gain:.1f} % at most, and was {100 * np.mean(1 - 1 / losses):.1f} %"
    )
    return f"{title}, certificate", text, held >= SURE


def collapse() -> list[Row]:
    """The largest probability on pure noise, and what a tie does: SNG as released, ASNG as mended."""
    ways: dict[str, tuple[Callable[[Sequence[int]], Theta], Callable[[Array], Array]]] = {
        "SNG as released": (Theta, released_utilities),
        "ASNG": (AdaptiveTheta, utilities),
    }
    noise = {
        name: np.mean([_noise(*way, s) for s in range(REPEATS)], 0) for name, way in ways.items()
    }
    moved = {name: _tie(*way) for name, way in ways.items()}
    for name, found in noise.items():
        print(
            f"{name} on pure noise: mean largest probability {found[0]:.2f} after {UPDATES[0]} updates, "
            f"{found[1]:.2f} after {UPDATES[1]}; a tie moves a probability by {moved[name]:.2f}"
        )
    last = {name: float(found[-1]) for name, found in noise.items()}
    text = (
        f"{last['ASNG']:.2f} after {UPDATES[-1]} updates, as released {last['SNG as released']:.2f}"
    )
    return [
        ("ASNG stays open on noise", text, last["ASNG"] < 0.5 < last["SNG as released"]),
        ("ASNG is not moved by a tie", f"{moved['ASNG']:.2f}", moved["ASNG"] == 0),
    ]


def _noise(
    make: Callable[[Sequence[int]], Theta], rank: Callable[[Array], Array], seed: int
) -> list[float]:
    rng, theta = np.random.default_rng(seed), make(SIZES)
    found = []
    for update in range(1, max(UPDATES) + 1):
        theta.step(_drawn(theta, rng), rank(rng.random(SAMPLES)))
        if update in UPDATES:
            found.append(float(np.mean([row.max() for row in theta.rows])))
    return found


def _tie(make: Callable[[Sequence[int]], Theta], rank: Callable[[Array], Array]) -> float:
    theta = make(SIZES)
    before = [row.copy() for row in theta.rows]
    theta.step(_drawn(theta, np.random.default_rng(0)), rank(np.zeros(SAMPLES)))
    return max(float(abs(row - old).max()) for row, old in zip(theta.rows, before, strict=True))


def _drawn(theta: Theta, rng: np.random.Generator) -> list[tuple[int, ...]]:
    return [tuple(int(rng.choice(len(row), p=row)) for row in theta.rows) for _ in range(SAMPLES)]


def decoding() -> Row:
    """The dynamic programme on a 12-layer space."""
    rng = np.random.default_rng(0)
    units = [np.sort(rng.integers(0, BUCKETS // 12, size))[::-1] for size in ENCODER]
    errors = [np.sort(rng.random(size)) for size in ENCODER]
    took = []
    for _ in range(9):
        began = time.perf_counter()
        choice = Knapsack(errors, units, BUCKETS).decode(BUCKETS // 2)
        took.append(time.perf_counter() - began)
    seconds = float(np.median(took))
    name = f"decoding 12 layers with {BUCKETS:,} buckets"
    return name, f"{1e3 * seconds:.0f} ms", choice is not None and seconds <= DECODED

"""Synthetic devices whose law is known, written without the predictors' own features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from deploy.architecture import Architecture, Attention, FeedForward, Operator
from deploy.workload import Workload
from predictors import regression


@dataclass
class SyntheticDevice:
    """A roofline per sub-layer, padded matrices, and a cache that larger encoders spill from."""

    seed: int
    noise: float = 0.01
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = rng = np.random.default_rng(self.seed)
        self.macs_per_ms = rng.uniform(10, 80) * 1e6
        self.bytes_per_ms = rng.uniform(8, 30) * 1e6
        self.tile = int(rng.choice([1, 16, 32]))
        self.cache_bytes = float(rng.choice([4, 8, 16, 1e6])) * 2**20
        self.per_layer_ms, self.constant_ms = rng.uniform(0.005, 0.03), rng.uniform(0.02, 0.2)

    def exact(self, architecture: Architecture, workload: Workload) -> float:
        layers = [
            self._sub_layer(op, architecture.hidden, workload) for op in architecture.operators
        ]
        total_bytes = sum(weight_bytes for _, weight_bytes in layers)
        spill = 0.3 * max(0.0, total_bytes - self.cache_bytes) / self.bytes_per_ms
        return self.constant_ms + sum(ms for ms, _ in layers) + spill

    def measure(
        self, architectures: Sequence[Architecture], workloads: Sequence[Workload]
    ) -> list[float]:
        exact = [self.exact(a, w) for a, w in zip(architectures, workloads, strict=True)]
        return list(exact * np.exp(self.rng.normal(0, self.noise, len(exact))))

    def _sub_layer(self, op: Operator, hidden: int, workload: Workload) -> tuple[float, float]:
        tokens = workload.batch * workload.length
        if isinstance(op, Attention):
            inner, matrices = op.heads * op.head_dim, 4
            pairs = workload.batch * op.heads * workload.length**2
            extra = 3 * pairs * op.head_dim / self.macs_per_ms + pairs * 3e-7
        else:
            inner, matrices, extra = op.width, 2, tokens * op.width * 1e-7
        padded = [-(-size // self.tile) * self.tile for size in (hidden, inner)]
        compute = tokens * matrices * padded[0] * padded[1] / self.macs_per_ms
        weight_bytes = 4.0 * matrices * hidden * inner
        busy = max(compute, weight_bytes / self.bytes_per_ms)
        return self.per_layer_ms + extra + busy, weight_bytes


def random_encoders(rng: np.random.Generator, n: int) -> list[Architecture]:
    """Encoders of many shapes, heads and widths differing from layer to layer."""

    def chain(hidden: int) -> list[Operator]:
        layers = int(rng.integers(1, 7))
        heads, widths = hidden // 64, 4 * hidden // 16
        operators: list[Operator] = []
        for _ in range(layers):
            operators.append(Attention(int(rng.integers(1, heads + 1)), 64))
            operators.append(FeedForward(16 * int(rng.integers(1, widths + 1))))
        return [op for op in operators if rng.random() < 0.85] or operators[:1]

    hidden = [64 * int(rng.integers(2, 9)) for _ in range(n)]
    return [Architecture(1024, size, tuple(chain(size))) for size in hidden]


@pytest.fixture(scope="session")
def device() -> type[SyntheticDevice]:
    return SyntheticDevice


@pytest.fixture
def few_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means of fewer fits, which take most of the time, where what is tested holds for these too."""
    monkeypatch.setattr(regression, "FITS", 8)


@pytest.fixture(scope="session")
def encoders() -> Callable[[int, int], list[Architecture]]:
    """``encoders(seed, n)``: a pool of candidates."""
    return lambda seed, n: random_encoders(np.random.default_rng(seed), n)

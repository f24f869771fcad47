"""The fake runtime: answers through onnxruntime, takes its time from an analytic law.

The law is a roofline per operator: the longer of computing and moving bytes, with widths rounded
up to a tile, bandwidth that falls once the weights exceed a cache, and an overhead per operator.
On top come seeded noise and slow episodes, so that only the least of many spread-out visits finds
the law again. Noise only ever slows: the law is what a run costs when nothing disturbs it.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from devices.errors import DeviceError
from devices.packages import installed_version
from devices.precision import PRECISIONS
from devices.runtimes import Arrays
from devices.runtimes.onnxruntime_runtime import OnnxRuntime, OnnxSession

SEED_VARIABLE = "CUTONCE_FAKE_SEED"
_SLOWER = 1.5
_EPISODE, _QUIET = (30.0, 100.0), 180.0  # in runs or milliseconds, whichever is longer


@dataclass(frozen=True)
class Physics:
    """One fake machine; rates are per millisecond, ``macs`` per thread too."""

    macs: float
    bandwidth: float
    spilled_bandwidth: float
    cache: int
    overhead: float
    tile: int
    int8_speedup: float

    @classmethod
    def of(cls, seed: int) -> Physics:
        rng = np.random.default_rng([seed, 1])
        bandwidth = float(rng.uniform(5e6, 2e7))
        return cls(
            macs=float(rng.uniform(1e7, 8e7)),
            bandwidth=bandwidth,
            spilled_bandwidth=bandwidth * float(rng.uniform(0.3, 0.7)),
            cache=int(rng.choice([4, 8, 16, 32])) * 2**20,
            overhead=float(rng.uniform(0.002, 0.02)),
            tile=int(rng.choice([8, 16, 32])),
            int8_speedup=float(rng.uniform(1.5, 3.0)),
        )


def fake_milliseconds(
    costs: dict[str, Any], physics: Physics, threads: int, batch: int, length: int
) -> float:
    """The law without noise, in milliseconds.

    Args:
        costs: what the fake exporter wrote beside the ONNX file.
    """
    element = PRECISIONS[costs["precision"]].weight_bytes
    weights = element * sum(operator["weights"] for operator in costs["operators"])
    bandwidth = physics.bandwidth if weights <= physics.cache else physics.spilled_bandwidth
    speed = threads * physics.macs * (physics.int8_speedup if element == 1 else 1.0)
    total = 0.0
    for operator in costs["operators"]:
        rows = batch if operator["kind"] == "head" else batch * length
        macs = sum(
            rows * k * physics.tile * math.ceil(n / physics.tile) * count
            for k, n, count in operator["linear"]
        )
        scores = 2 * operator["heads"] * batch * length**2 * operator["head_dim"]
        moved = element * operator["weights"] + 4 * rows * operator["activations_per_token"]
        total += max((macs + scores) / speed, moved / bandwidth) + physics.overhead
    return total


class FakeSession:
    """Answers through onnxruntime; ``clock`` is virtual."""

    settle_ms = 0.0

    def __init__(
        self, session: OnnxSession, costs: dict[str, Any], seed: int, threads: int
    ) -> None:
        self.precision = PRECISIONS[costs["precision"]].computes
        self.clock: Callable[[], int] = lambda: self._now
        self._session, self._costs, self._threads = session, costs, threads
        self._physics = Physics.of(seed)
        # Each file has disturbances of its own; one stream for all would make them cancel out
        # wherever two files are compared.
        own = zlib.crc32(json.dumps([costs, threads], sort_keys=True).encode())
        self._rng = np.random.default_rng([seed, 2, own])
        self._asked: Arrays | None = None
        self._answers: list[np.ndarray[Any, Any]] = []
        self._now = 0
        self._slow_from = self._slow_until = 0.0

    def run(self, inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        if inputs is not self._asked:  # only the clock tells one run from the next
            self._asked, self._answers = inputs, self._session.run(inputs)
        batch, length = inputs["input_ids"].shape
        exact = fake_milliseconds(self._costs, self._physics, self._threads, batch, length)
        self._now += round(1e6 * exact * self._disturbance(exact))
        return self._answers

    def _disturbance(self, exact: float) -> float:
        """Episodes last for whole visits, so no minimum over a visit's runs sees through them."""
        if self._now >= self._slow_until:
            unit = 1e6 * max(exact, 1.0)
            self._slow_from = self._now + unit * float(self._rng.exponential(_QUIET))
            self._slow_until = self._slow_from + unit * float(self._rng.uniform(*_EPISODE))
        slow = _SLOWER if self._now >= self._slow_from else 1.0
        return slow * (1 + abs(float(self._rng.normal(0, 0.01))))


class FakeRuntime:
    """Loads ``model.onnx`` with its ``model.costs.json``; the precision is in the latter."""

    packages = ("onnxruntime",)
    precisions = ("fp32", "int8")
    gpu = False
    stands_for = ""
    install = "pip install onnxruntime"

    def version(self) -> str | None:
        return installed_version(self.packages[0])

    def load(
        self,
        path: Path,
        precision: str,
        threads: int,
        alone: bool = True,  # noqa: ARG002 - copies take turns on the virtual clock
    ) -> FakeSession:
        costs = _read_costs(path.with_suffix(".costs.json"))
        session = OnnxRuntime().load(path, precision, threads=1)  # its time does not count
        return FakeSession(session, costs, int(os.environ.get(SEED_VARIABLE, "0")), threads)


def _read_costs(path: Path) -> dict[str, Any]:
    try:
        costs: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if costs["schema"] != 1 or costs["precision"] not in FakeRuntime.precisions:
            raise ValueError("it is not of schema 1 in fp32 or int8")
        fake_milliseconds(costs, Physics.of(0), threads=1, batch=1, length=1)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeviceError(
            f"The fake runtime cannot read {path} ({error}); export the model for fake again."
        ) from error
    return costs

"""Latency where the lengths of texts are a distribution: expected, and what 95 % of runs stay below."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from deploy.architecture import Architecture
from deploy.workload import Workload
from devices.errors import UsageError
from predictors.predictor import LatencyPredictor

HIGH = 0.95


def latency_over(
    predictor: LatencyPredictor,
    architecture: Architecture,
    lengths: Mapping[int, float],
    batch: int = 1,
) -> tuple[float, float]:
    """Expected milliseconds of a run, and those that 95 % of the runs stay within.

    A batch is as long as its longest text, and its texts are drawn independently.

    Args:
        lengths: the share of every length in tokens; they are scaled to a sum of 1.

    Raises:
        UsageError: no length, or a share that is not a positive number.
    """
    longest = _of_batches(lengths, batch)
    workloads = [Workload(batch, length) for length in longest]
    ms = predictor.predict([architecture] * len(workloads), workloads)
    shares = np.array(list(longest.values()))
    order = np.argsort(ms, kind="stable")
    reached = np.cumsum(shares[order])
    high = order[min(int(np.searchsorted(reached, HIGH - 1e-12)), len(order) - 1)]
    return float(shares @ ms), float(ms[high])


def _of_batches(lengths: Mapping[int, float], batch: int) -> dict[int, float]:
    """The share of every length of the longest of ``batch`` texts."""
    if not lengths or not all(math.isfinite(s) and s > 0 for s in lengths.values()):
        raise UsageError(
            f"Lengths need a positive share each, such as 32:0.7,128:0.3, not {dict(lengths)}."
        )
    ordered = sorted(lengths)
    below = np.cumsum([lengths[length] for length in ordered])
    reached = (below / below[-1]) ** batch
    return dict(zip(ordered, np.diff(reached, prepend=0.0).tolist(), strict=True))

"""The inputs that the parity gate tries on every file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deploy.architecture import Architecture
from devices.runtimes import Arrays

LONGEST = 128
"""Sequences beyond this cost time and exercise nothing new."""
MIXED_ROWS = 16


def synthetic_cases(architecture: Architecture, seed: int = 0) -> dict[str, list[Arrays]]:
    """Named lists of batches; inputs are int64 [batch, sequence], padded on the right.

    Batches of 1 and 3, shortest to longest sequences, rows of mixed lengths, and ids at the edges
    of the vocabulary: what exporters have got wrong before by fixing a size, a mask or a table.
    """
    rng = np.random.default_rng(seed)
    longest = min(architecture.positions, LONGEST)
    lengths = sorted({min(length, longest) for length in (1, 7, longest // 2 + 1, longest)})
    last = architecture.vocabulary - 1

    def batch(sizes: list[int], id_of: Callable[[int], np.ndarray]) -> Arrays:
        shape = (len(sizes), max(sizes))
        mask = (np.arange(shape[1]) < np.array(sizes)[:, None]).astype(np.int64)
        types = np.sort(rng.integers(0, architecture.token_types, shape, dtype=np.int64))
        ids = id_of(len(sizes) * shape[1]).reshape(shape).astype(np.int64)
        return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": types * mask}

    def any_id(count: int) -> np.ndarray:
        return rng.integers(0, last, count, endpoint=True)

    def edge_id(count: int) -> np.ndarray:
        return rng.choice([0, last], count)

    cases = {
        f"batch {rows}, length {length}": [batch([length] * rows, any_id)]
        for rows in (1, 3)
        for length in lengths
    }
    mixed = rng.integers(1, longest, MIXED_ROWS, endpoint=True).tolist()
    cases["mixed lengths"] = [batch(mixed, any_id)]
    cases["vocabulary edges"] = [batch([longest] * 2, edge_id)]
    return cases

"""What an int8 exporter sees of the data: a list of batches, and the hash that names it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from devices.errors import UsageError
from devices.runtimes import Arrays

LEAST = 16  # texts that scales are taken from, of a file that is to ship


def random_batches(
    vocabulary: int, length: int, count: int = 4, seed: int = 0, token_types: int = 2
) -> list[Arrays]:
    """``count`` single sequences of uniformly random ids, with lengths from 1 to ``length``.

    Enough where only latency is profiled, since an int8 kernel's time does not depend on its
    scales; not enough to ship: calibrate on the task's own texts for that.
    """
    rng = np.random.default_rng(seed)
    batches: list[Arrays] = []
    for size in rng.integers(1, length, size=count, endpoint=True):
        ids = rng.integers(0, vocabulary, size=(1, size), dtype=np.int64)
        types = np.sort(rng.integers(0, token_types, size=(1, size), dtype=np.int64))
        batches.append(
            {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}
        )
    return batches


def enough(batches: Sequence[Arrays]) -> bool:
    """Whether these are as many texts as the scales of a file that is to ship are taken from."""
    return sum(len(batch["input_ids"]) for batch in batches) >= LEAST


def require_enough(batches: Sequence[Arrays], what: str) -> None:
    """Raises UsageError where there are fewer texts than the scales of ``what`` are to be taken from."""
    if not enough(batches):
        count = sum(len(batch["input_ids"]) for batch in batches)
        raise UsageError(
            f"{what} takes the scales of activations from {LEAST} texts at least, and there are {count}; "
            "give more of the task's texts (--data), or take onnxruntime int8, which finds them at run "
            "time."
        )


def calibration_hash(batches: Sequence[Arrays]) -> str:
    """16 hex digits that name a calibration set: every array's name, shape and values, in order."""
    digest = hashlib.sha256()
    for batch in batches:
        for name in sorted(batch):
            array = np.ascontiguousarray(batch[name], dtype=np.int64)
            digest.update(f"{name}{array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]

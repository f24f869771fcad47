"""A real cluster of dask.distributed whose workers offer fake devices, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devices.worker import OFFERED

SEEDS = {"one": 7, "two": 8}
"""What the workers offer, and the seed of the fake device that it is."""


def start_cluster(seeds: Mapping[str, int], free: int = 0) -> Any:
    """A context manager that ends it; its scheduler_address is where it is. Names to fake devices, and so
    many workers that offer none."""
    import distributed

    workers: dict[Any, Any] = {
        name: {
            "cls": distributed.Nanny,
            "options": {
                "nthreads": 1, "resources": {name: 1}, "env": {OFFERED: f"fake:{seed}"},
            },
        }
        for name, seed in seeds.items()
    }  # fmt: skip
    workers |= {n: {"cls": distributed.Nanny, "options": {"nthreads": 1}} for n in range(free)}
    scheduler = {"cls": distributed.Scheduler, "options": {"dashboard_address": ":0"}}
    return distributed.SpecCluster(workers, scheduler=scheduler, silence_logs=50)

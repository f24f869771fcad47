"""Deploying sub-networks: extract, export, and measure beside the dense model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.export_pool import ExportPool, ExportRequest
from deploy.workload import Workload
from devices.files import whole_directory
from devices.target import Target
from elastic.elastic_encoder import ElasticEncoder
from elastic.space import Choice, SearchSpace
from profiler.campaign import run_campaign
from profiler.job import Job
from profiler.measurement import Measurement
from profiler.store import Store


@dataclass(frozen=True)
class Deployed:
    """A network that was exported and measured."""

    measurement: Measurement
    size_bytes: int


class Deployment:
    """Exports sub-networks of one elastic encoder and measures them, dense beside them.

    Args:
        work: where sub-networks are exported.
        dense: where the dense model is exported, which outlives the search.
    """

    def __init__(
        self,
        elastic: ElasticEncoder,
        space: SearchSpace,
        workload: Workload,
        *,
        store: Store,
        pool: ExportPool,
        campaign: str,
        work: Path,
        dense: Path,
        visits: int,
        seed: int,
        progress: Callable[[str], Any],
    ) -> None:
        self.elastic, self.space, self.workload = elastic, space, workload
        self.store, self.pool, self.campaign = store, pool, campaign
        self.work, self.dense = work, dense
        self.visits, self.seed, self.progress = visits, seed, progress

    def measure(
        self, name: str, targets: Sequence[Target], wanted: Sequence[tuple[Target, Choice]] = ()
    ) -> tuple[dict[Target, Deployed], list[Deployed]]:
        """The dense model on every target, and every network wanted, in one interleaved campaign."""
        unique = list(dict.fromkeys([*((target, self.space.dense) for target in targets), *wanted]))
        requests = [
            ExportRequest(
                self._extract(choice), target.runtime, target.precision, self._place(choice)
            )
            for target, choice in unique
        ]
        with self.progress(f"exporting {len(requests)} networks") as advance:
            exported = self.pool.export(requests, progress=advance)
        jobs = [
            Job(target, self.space.architecture(choice), self.workload, files.path)
            for (target, choice), files in zip(unique, exported, strict=True)
        ]
        with self.progress(f"measuring {len(jobs)} networks") as advance:
            measured = run_campaign(
                jobs,
                store=self.store,
                campaign=f"{self.campaign}/{name}",
                seed=self.seed,
                visits=self.visits,
                progress=advance,
            )
        deployed = (
            Deployed(measurement, sum(file.stat().st_size for file in files.files))
            for measurement, files in zip(measured, exported, strict=True)
        )
        found = dict(zip(unique, deployed, strict=True))
        dense = {target: found[target, self.space.dense] for target in targets}
        return dense, [found[key] for key in wanted]

    def _place(self, choice: Choice) -> Path:
        if choice == self.space.dense:
            return self.dense
        digest = hashlib.sha256(json.dumps(choice).encode()).hexdigest()[:16]
        return self.work / digest

    def _extract(self, choice: Choice) -> Path:
        directory = self._place(choice) / "encoder"
        if not directory.exists():
            with whole_directory(directory) as place:
                self.elastic.extract(self.space.chain(choice)).save_pretrained(place)
        return directory

"""Deploying sub-networks: extract, export, and measure beside the dense model."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.export_pool import ExportPool, ExportRequest
from deploy.workload import Workload
from devices.errors import UsageError
from devices.files import whole_directory
from devices.target import Target
from elastic.search.budget import Bound, bounded
from elastic.search.supernet import Network
from profiler.campaign import APART, run_campaign
from profiler.footprint import weigh
from profiler.job import Job, Key
from profiler.measurement import Measurement
from profiler.store import Store

MB = 1e6


@dataclass(frozen=True)
class Deployed:
    """A network that was exported and measured.

    Attributes:
        peak_bytes: the most memory of a process that runs it; None where that was not asked for.
    """

    measurement: Measurement
    size_bytes: int
    peak_bytes: int | None = None

    def amount(self, bound: Bound) -> float:
        """Milliseconds or MB that ``bound`` is about; NaN for memory that was not weighed."""
        if bound == "file":
            return self.size_bytes / MB
        if bound == "memory":
            return math.nan if self.peak_bytes is None else self.peak_bytes / MB
        return bounded(self.measurement, bound)

    def with_more(self, other: Deployed) -> Deployed:
        """What two campaigns measured of it."""
        return replace(self, measurement=self.measurement.with_more(other.measurement))


class Deployment:
    """Exports sub-networks and measures them.

    Args:
        work: where sub-networks are exported.
        dense: where the dense model is exported, which outlives the search.
    """

    def __init__(
        self,
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
        self.workload, self.store, self.pool, self.campaign = workload, store, pool, campaign
        self.work, self.dense = work, dense
        self.visits, self.seed, self.progress = visits, seed, progress

    def measure(
        self,
        name: str,
        wanted: Sequence[tuple[Target, Network]],
        weighed: Collection[Target] = (),
    ) -> dict[tuple[Target, Network], Deployed]:
        """Every network wanted, in one interleaved campaign; of targets that are ``weighed``, with the
        memory that it takes.

        Raises:
            UsageError: such a target does not tell it.
        """
        unique = list(dict.fromkeys(wanted))
        requests = [
            ExportRequest(
                self._extract(network), target.runtime, target.precision, self._place(network)
            )
            for target, network in unique
        ]
        with self.progress(f"exporting {len(requests)} networks") as advance:
            exported = self.pool.export(requests, progress=advance)
        jobs = [
            Job(target, network.architecture, self.workload, files.path, network.is_dense)
            for (target, network), files in zip(unique, exported, strict=True)
        ]
        campaign = f"{self.campaign}/{name}"
        with self.progress(f"measuring {len(jobs)} networks") as advance:
            measured = run_campaign(
                jobs,
                store=self.store,
                campaign=campaign,
                seed=self.seed,
                visits=self.visits,
                apart=APART,
                progress=advance,
            )
        peaks = self._peaks([job for job in jobs if job.target in weighed], campaign)
        return {
            key: Deployed(
                measurement,
                files.size_bytes,
                peaks.get(job.key),
            )
            for key, measurement, files, job in zip(unique, measured, exported, jobs, strict=True)
        }

    def _peaks(self, jobs: Sequence[Job], campaign: str) -> dict[Key, int]:
        if not jobs:
            return {}
        with self.progress(f"weighing {len(jobs)} networks") as advance:
            weights = weigh(jobs, store=self.store, campaign=f"{campaign}/memory", progress=advance)
        found = {}
        for job, weight in zip(jobs, weights, strict=True):
            if weight.peak_bytes is None:
                raise UsageError(
                    f"{job.target} does not tell what memory a model takes there; bound its file "
                    "instead (20MB)."
                )
            found[job.key] = weight.peak_bytes
        return found

    def _place(self, network: Network) -> Path:
        return self.dense if network.is_dense else self.work / network.digest

    def _extract(self, network: Network) -> Path:
        directory = self._place(network) / "encoder"
        if not directory.exists():
            with whole_directory(directory) as place:
                network.extract().save_pretrained(place)
        return directory

"""Footprints: what exported files take on disk, and of memory in a process of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from devices.device import open_device
from profiler.archive import build_archive
from profiler.client import AgentClient
from profiler.crew import load_request
from profiler.job import Job
from profiler.store import Store

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Footprint:
    """Of one exported file.

    Attributes:
        file_bytes: on disk.
        peak_bytes: the most memory that a process had resident which loaded it and ran it, with the
            runtime and Python in it; None where the device does not tell, or only computes its times.
    """

    file_bytes: int
    peak_bytes: int | None


def weigh(
    jobs: Sequence[Job], *, store: Store, campaign: str, progress: Progress
) -> list[Footprint]:
    """The footprint of every job, in order; what the store has of the campaign is not weighed again.

    Args:
        progress: called with (done, total).

    Raises:
        DeviceError: a file cannot be loaded or run.
        StoreError: the store cannot be used.
    """
    found = []
    with TemporaryDirectory() as place:
        archive = build_archive(Path(place) / "agent.pyz")
        for done, job in enumerate(jobs, 1):
            owner = open_device(job.target.device).fingerprint()
            store.add_fingerprint(owner)
            number = store.subject(
                campaign, job.target, owner.id, job.architecture, job.workload, ""
            )
            footprint = _known(store, number)
            if footprint is None:
                footprint = Footprint(job.size_bytes, _peak(job, archive))
                _keep(store, number, footprint)
            found.append(footprint)
            progress(done, len(jobs))
    return found


def _peak(job: Job, archive: Path) -> int | None:
    if job.target.virtual:
        return None
    with AgentClient(open_device(job.target.device), archive) as agent:
        agent.ask("load", id="0", **load_request(job))
        agent.ask("visit", id="0", runs=1, minimum_ms=0.0)
        peak = agent.ask("memory")["peak_bytes"]
    return None if peak is None else int(peak)


def _known(store: Store, subject: int) -> Footprint | None:
    query = "SELECT file_bytes, peak_bytes FROM footprint WHERE subject = ?"
    with store.transaction() as connection:
        row = connection.execute(query, (subject,)).fetchone()
    return None if row is None else Footprint(*row)


def _keep(store: Store, subject: int, footprint: Footprint) -> None:
    row = (subject, footprint.file_bytes, footprint.peak_bytes)
    with store.transaction() as connection, connection:
        connection.execute("INSERT INTO footprint VALUES (?, ?, ?)", row)

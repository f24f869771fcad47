"""Profiles: plan what to measure, measure it in one interleaved campaign, fit, keep as JSON.

A profile is one file per target and fingerprint beside the measurement store; the raw visits stay
in the store, so a profile can always be fitted again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cutonce.console import progress, talk
from cutonce.series import say_new_series
from deploy.architecture import Architecture, uniform
from deploy.export_pool import ExportPool, ExportRequest
from deploy.workload import Workload
from devices.device import open_device
from devices.errors import DeviceError, StoreError, UsageError
from devices.files import write_json
from devices.fingerprint import Fingerprint
from devices.target import Target
from elastic.space import SearchSpace
from predictors.planning import plan
from predictors.predictor import LatencyPredictor
from predictors.tiles import Probe, find_tile, plan_probes
from profiler.campaign import SECOND_STARTS, run_campaign
from profiler.job import Job
from profiler.measurement import Measurement
from profiler.statistics import ratio
from profiler.store import Store

SCHEMA = 1
CAMPAIGN = "profile"
LEAST = 6  # encoders that a predictor is fitted to
POOL = 400  # candidates that the D-optimal choice is made from
# The embedding table is looked up row by row, so its size does not show in the latency; a small
# one keeps the exported random-weight encoders small.
VOCABULARY = 1024


@dataclass(frozen=True)
class Profile:
    """What is known of one target: its predictor, and the measurements it was fitted to.

    Attributes:
        probes: of the tile size; empty where it was not asked for.
    """

    target: Target
    fingerprint: Fingerprint
    predictor: LatencyPredictor
    measurements: tuple[Measurement, ...]
    probes: tuple[Probe, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "target": str(self.target),
            "fingerprint": self.fingerprint.to_json(),
            "predictor": self.predictor.to_json(),
            "measurements": [measurement.to_json() for measurement in self.measurements],
            "tile": find_tile(self.probes),
            "probes": [probe.to_json() for probe in self.probes],
        }


def profile_path(store: Store, target: Target, fingerprint: Fingerprint) -> Path:
    return store.path.parent / "profiles" / f"{target.slug}-{fingerprint.id}.json"


def load_predictor(path: Path) -> tuple[str, LatencyPredictor]:
    """The target and predictor of a profile file; needs numpy only.

    Raises:
        StoreError: the file is missing or is no profile of a known schema.
    """
    try:
        data = json.loads(path.read_text())
        if data["schema"] != SCHEMA:
            raise StoreError(
                f"{path} has profile schema {data['schema']}, this version reads {SCHEMA}."
            )
        return data["target"], LatencyPredictor.from_json(data["predictor"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is not a profile ({error}); `cutonce profile TARGET` makes one."
        ) from error


def stored_predictor(store: Store, target: Target) -> LatencyPredictor | None:
    """The predictor that the store has for this target on this machine as it is now, or None."""
    path = profile_path(store, target, open_device(target.device).fingerprint())
    return load_predictor(path)[1] if path.exists() else None


def stored_tile(store: Store, target: Target) -> int | None:
    """The tile size that a profile of this machine found, None where there is none."""
    path = profile_path(store, target, open_device(target.device).fingerprint())
    tile = json.loads(path.read_text()).get("tile") if path.exists() else None
    return None if tile is None else int(tile)


def candidates(around: Architecture | None, seed: int) -> list[Architecture]:
    """The pool to choose from: sub-networks of one model, or encoders of many shapes."""
    rng = np.random.default_rng(seed)
    if around is None:
        return [_random_encoder(rng) for _ in range(POOL)]
    space = SearchSpace.around(replace(around, vocabulary=min(around.vocabulary, VOCABULARY)))
    drawn = [space.architecture(space.sample(rng)) for _ in range(POOL)]
    return [space.architecture(space.dense), *drawn]


def _random_encoder(rng: np.random.Generator) -> Architecture:
    hidden = 64 * int(rng.integers(2, 9))
    layers, heads = int(rng.integers(1, 7)), hidden // int(rng.choice((32, 64)))
    dense = uniform(layers, hidden, heads, 4 * hidden, vocabulary=VOCABULARY)
    space = SearchSpace.around(dense)
    return space.architecture(space.sample(rng))


def make_profiles(
    targets: Sequence[Target],
    *,
    around: Architecture | None,
    workload: Workload,
    configurations: int,
    visits: int,
    store: Store,
    pool: ExportPool,
    seed: int,
    probe_tiles: bool = False,
) -> list[Profile]:
    """Profile all targets in one interleaved campaign; goes on where an earlier call stopped.

    Args:
        around: the model whose sub-networks are measured, or None for encoders of many shapes.
        probe_tiles: find the tile size of every target too, by a few pairs of encoders more.
    """
    if configurations < LEAST:
        raise UsageError(f"A profile needs at least {LEAST} configurations, not {configurations}.")
    say_new_series(store, targets)
    known = candidates(around, seed)
    chosen = [known[i] for i in plan(known, workload, configurations, targets[0].precision, seed)]
    probes = plan_probes(chosen[0].hidden, workload.length, VOCABULARY) if probe_tiles else []
    pairs = [encoder for probe in probes for encoder in (probe.narrow, probe.wide)]
    with TemporaryDirectory(prefix="cutonce-profile-") as work:
        jobs = _deploy(targets, [*chosen, *pairs], workload, Path(work), pool)
        with progress(f"measuring {len(jobs)} encoders on {len(targets)} target(s)") as advance:
            measured = run_campaign(
                jobs,
                store=store,
                campaign=CAMPAIGN,
                seed=seed,
                visits=visits,
                second_starts=SECOND_STARTS,
                failed=_left_out,
                progress=advance,
            )
    profiles = []
    for target in targets:
        mine = [m for m in measured if m.target == target]
        encoders = [m for m in mine if m.architecture not in pairs]
        profiles.append(_fit(target, encoders, _judged(probes, mine), store))
    return profiles


def _judged(probes: Sequence[Probe], measured: Sequence[Measurement]) -> tuple[Probe, ...]:
    """The probes with what they took; a pair that failed stays open."""
    minima = {m.architecture: m.minima for m in measured}
    return tuple(
        replace(probe, ratio=ratio(minima[probe.narrow], minima[probe.wide]))
        if {probe.narrow, probe.wide} <= {*minima}
        else probe
        for probe in probes
    )


def _left_out(job: Job, error: DeviceError) -> None:
    talk(f"Left out of the profile of {job.target}: {job.architecture}, which failed. {error}")


def _deploy(
    targets: Sequence[Target],
    architectures: Sequence[Architecture],
    workload: Workload,
    work: Path,
    pool: ExportPool,
) -> list[Job]:
    """Export every encoder for every target; one directory per architecture serves all targets."""
    wanted = [(target, architecture) for target in targets for architecture in architectures]
    requests = [
        ExportRequest(architecture, target.runtime, target.precision, work / architecture.digest)
        for target, architecture in wanted
    ]
    with progress(f"exporting {len(architectures)} encoders") as advance:
        exported = pool.export(requests, progress=advance)
    return [
        Job(target, architecture, workload, files.path)
        for (target, architecture), files in zip(wanted, exported, strict=True)
    ]


def _fit(
    target: Target, measured: Sequence[Measurement], probes: tuple[Probe, ...], store: Store
) -> Profile:
    if len(measured) < LEAST:
        raise DeviceError(
            f"Only {len(measured)} encoders could be measured on {target}, a profile needs {LEAST}; "
            "what failed is said above. Mend that, and repeat: what was measured is kept."
        )
    predictor = LatencyPredictor(target.precision).fit(
        [m.architecture for m in measured],
        [m.workload for m in measured],
        [m.statistics.p20 for m in measured],
    )
    fingerprint = open_device(target.device).fingerprint()
    profile = Profile(target, fingerprint, predictor, tuple(measured), probes)
    write_json(profile_path(store, target, fingerprint), profile.to_json())
    return profile

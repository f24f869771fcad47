"""Profiling: plan what to measure, measure it on all targets side by side, fit, keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cutonce.console import progress, talk
from cutonce.profiles import Profile, known_predictors, profile_path
from cutonce.series import say_new_series
from deploy.architecture import Architecture, uniform
from deploy.export_pool import ExportPool, ExportRequest
from deploy.workload import Workload
from devices.device import open_device
from devices.errors import DeviceError, UsageError
from devices.files import write_json
from devices.target import Target
from elastic.space import SearchSpace
from predictors.operators import Interval, Stack, operator_table, plan_stacks
from predictors.planner import Planner
from predictors.predictor import LatencyPredictor
from predictors.tiles import Probe, plan_probes
from predictors.training import TIERS
from profiler.campaign import STARTS, run_campaign
from profiler.job import Job
from profiler.measurement import Measurement
from profiler.statistics import paired_ratio
from profiler.store import Store

CAMPAIGN = "profile"
PROBE_VISITS = 30  # in pairs right after each other, which tells 1 % on a busy machine
STACK_VISITS = 10  # the operator table explains a profile and is not fitted to
LEAST = TIERS[1]  # encoders that a predictor is fitted to
MORE = 4  # encoders that are measured at once where a law is not sure enough yet
POOL = 400  # candidates that the D-optimal choice is made from
# The embedding table is looked up row by row, so its size does not show in the latency; a small
# one keeps the exported random-weight encoders small.
VOCABULARY = 1024
USUAL = (6, 384, 12, 1536)  # MiniLM, whose operators are timed where no model is named


@dataclass(frozen=True)
class _Part:
    """Encoders that are measured side by side on every target.

    Attributes:
        what: is done with them, as it is shown. campaign: they are kept under in the store.
        visits, least: as :func:`~profiler.campaign.run_campaign` takes them.
    """

    what: str
    campaign: str
    encoders: Sequence[Architecture]
    visits: int
    least: int | None = None


def candidates(around: Architecture | None, workload: Workload, seed: int) -> list[Architecture]:
    """The pool to choose from: sub-networks of one model, or encoders of many shapes."""
    rng = np.random.default_rng(seed)
    if around is None:
        return [_trimmed(_random_encoder(rng), workload) for _ in range(POOL)]
    space = SearchSpace.around(_trimmed(around, workload))
    drawn = [space.architecture(space.sample(rng)) for _ in range(POOL)]
    return [space.architecture(space.dense), *drawn]


def _trimmed(architecture: Architecture, workload: Workload) -> Architecture:
    """With no more rows in its embedding tables than timing needs."""
    return replace(
        architecture,
        vocabulary=min(architecture.table[0], VOCABULARY),
        rows=0,
        positions=min(architecture.positions, workload.length),
    )


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
    at_most: int = 0,
    thorough: bool = False,
) -> list[Profile]:
    """Profile all targets side by side; goes on where an earlier call stopped.

    Args:
        around: the model whose sub-networks are measured, or None for encoders of many shapes.
        configurations: encoders that are measured first, and all where ``at_most`` is no more.
        at_most: encoders that are measured while a law is not sure enough (predictors.planner).
        thorough: find the tile size and the operator table of every target too, by more encoders.
    """
    if configurations < LEAST:
        raise UsageError(f"A profile needs at least {LEAST} configurations, not {configurations}.")
    say_new_series(store, targets)
    known = candidates(around, workload, seed)
    planners = {
        t: Planner(known, workload, t.precision, first=configurations, seed=seed) for t in targets
    }
    chosen = [known[i] for i in planners[targets[0]].ask(configurations)]
    dense = _trimmed(around or uniform(*USUAL), workload)
    probes, stacks = (plan_probes(dense), plan_stacks(dense)) if thorough else ([], [])
    parts = [
        _Part("measuring", CAMPAIGN, chosen, visits),
        _Part("timing operators by", f"{CAMPAIGN}/operators", _stacked(stacks), STACK_VISITS),
        # In rounds of their own, so short that the visits to a pair are never far apart.
        _Part("probing tiles by", f"{CAMPAIGN}/tiles", _paired(probes), PROBE_VISITS, PROBE_VISITS),
    ]
    with TemporaryDirectory(prefix="cutonce-profile-") as work:

        def measure(*parts: _Part) -> list[list[Measurement]]:
            wanted = [encoder for part in parts for encoder in part.encoders]
            exported = _export(targets, wanted, Path(work), pool)
            return [_measure(part, targets, workload, exported, store, seed) for part in parts]

        measured, stacked, paired = measure(*parts)
        while more := _unsure(planners, known, measured, at_most):
            [found] = measure(replace(parts[0], encoders=more))
            measured += found
            if not found:
                break  # what fails again and again is said above
    profiles = []
    for target in targets:
        table = operator_table(stacks, _took(target, stacked))
        judged = [_judged(probe, target, paired) for probe in probes]
        own = [m for m in measured if m.target == target]
        profiles.append(_fit(target, own, judged, table, store))
    return profiles


def _unsure(
    planners: Mapping[Target, Planner],
    known: Sequence[Architecture],
    measured: Sequence[Measurement],
    at_most: int,
) -> list[Architecture]:
    """What to measure next; empty where every law is sure, or ``at_most`` encoders were measured."""
    done = len({m.architecture for m in measured})
    if done >= at_most:
        return []
    places = {architecture: place for place, architecture in enumerate(known)}
    for m in measured:
        planners[m.target].tell(places[m.architecture], m.statistics.intrinsic)
    unsure = next((planner for planner in planners.values() if planner.enough() is None), None)
    wanted = [] if unsure is None else unsure.ask(min(MORE, at_most - done))
    return [known[i] for i in wanted]


def _stacked(stacks: Iterable[Stack]) -> list[Architecture]:
    both = (encoder for stack in stacks for encoder in (stack.tall, stack.base))
    return list(dict.fromkeys(encoder for encoder in both if encoder is not None))


def _paired(probes: Iterable[Probe]) -> list[Architecture]:
    return [encoder for probe in probes for encoder in (probe.narrow, probe.wide)]


def _measure(
    part: _Part,
    targets: Sequence[Target],
    workload: Workload,
    exported: Mapping[tuple[Target, Architecture], Path],
    store: Store,
    seed: int,
) -> list[Measurement]:
    if not part.encoders:
        return []
    jobs = [Job(t, a, workload, exported[t, a]) for t in targets for a in part.encoders]
    title = f"{part.what} {len(part.encoders)} encoders on {len(targets)} target(s)"
    with progress(title) as advance:
        return run_campaign(
            jobs,
            store=store,
            campaign=part.campaign,
            seed=seed,
            visits=part.visits,
            least=part.least,
            starts=STARTS,
            failed=_left_out,
            progress=advance,
        )


def _left_out(job: Job, error: DeviceError) -> None:
    talk(f"Left out of the profile of {job.target}: {job.architecture}, which failed. {error}")


def _export(
    targets: Sequence[Target], architectures: Sequence[Architecture], work: Path, pool: ExportPool
) -> dict[tuple[Target, Architecture], Path]:
    """The file of every encoder for every target; one directory per architecture serves all."""
    wanted = [(target, architecture) for target in targets for architecture in architectures]
    requests = [
        ExportRequest(architecture, target.runtime, target.precision, work / architecture.digest)
        for target, architecture in wanted
    ]
    with progress(f"exporting {len(architectures)} encoders") as advance:
        exported = pool.export(requests, progress=advance)
    return {key: files.path for key, files in zip(wanted, exported, strict=True)}


def _took(target: Target, measured: Sequence[Measurement]) -> dict[Architecture, Interval]:
    return {
        m.architecture: (m.statistics.intrinsic, *m.statistics.interval)
        for m in measured
        if m.target == target
    }


def _judged(probe: Probe, target: Target, measured: Sequence[Measurement]) -> Probe:
    """The probe with what it took; a pair that failed stays open."""
    found = {m.architecture: m.taken for m in measured if m.target == target}
    if not {probe.narrow, probe.wide} <= {*found}:
        return probe
    return replace(probe, ratio=paired_ratio(found[probe.narrow], found[probe.wide]))


def _fit(
    target: Target,
    measured: Sequence[Measurement],
    probes: Sequence[Probe],
    operators: Sequence[dict[str, Any]],
    store: Store,
) -> Profile:
    if len(measured) < LEAST:
        raise DeviceError(
            f"Only {len(measured)} encoders could be measured on {target}, a profile needs {LEAST}; "
            "what failed is said above. Mend that, and repeat: what was measured is kept."
        )
    predictor = LatencyPredictor(target.precision).fit(
        [m.architecture for m in measured],
        [m.workload for m in measured],
        [m.statistics.intrinsic for m in measured],
        known=known_predictors(store, target),
    )
    fingerprint = open_device(target.device).fingerprint()
    profile = Profile(
        target, fingerprint, predictor, tuple(measured), tuple(probes), tuple(operators)
    )
    write_json(profile_path(store, target, fingerprint), profile.to_json())
    return profile

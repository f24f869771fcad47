"""Profiling: plan what to measure, measure it on all targets side by side, fit, keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cutonce.candidates import Pair, candidates, trimmed
from cutonce.console import progress, talk
from cutonce.footprints import CAMPAIGN as WEIGHING
from cutonce.footprints import other_predictors, to_weigh
from cutonce.profiles import Profile, known_predictors, profile_path
from cutonce.series import say_new_series
from cutonce.speed import probe_speed
from deploy.architecture import Architecture, uniform
from deploy.export_pool import ExportPool, ExportRequest
from deploy.workload import Workload
from devices.device import open_device
from devices.errors import DeviceError, UsageError
from devices.files import write_json
from devices.target import Target
from predictors.operators import Interval, Stack, operator_table, plan_stacks
from predictors.planner import Planner
from predictors.predictor import LatencyPredictor
from predictors.tiles import Probe, plan_probes
from predictors.training import TIERS
from profiler.campaign import STARTS, run_campaign
from profiler.footprint import Footprint, weigh
from profiler.job import Job
from profiler.measurement import Measurement
from profiler.statistics import paired_ratio
from profiler.store import Store

CAMPAIGN = "profile"
PROBE_VISITS = 30  # in pairs right after each other, which tells 1 % on a busy machine
STACK_VISITS = 10  # the operator table explains a profile and is not fitted to
LEAST = TIERS[1]  # encoders that a predictor is fitted to
MORE = 4  # encoders that are measured at once where a law is not sure enough yet
USUAL = (6, 384, 12, 1536)  # MiniLM, whose operators are timed where no model is named


@dataclass(frozen=True)
class _Part:
    """Encoders, each with a workload, that are measured side by side on every target.

    Attributes:
        what: is done with them, as it is shown. campaign: they are kept under in the store.
        visits, least: as :func:`~profiler.campaign.run_campaign` takes them.
    """

    what: str
    campaign: str
    pairs: Sequence[Pair]
    visits: int
    least: int | None = None


def make_profiles(
    targets: Sequence[Target],
    *,
    around: Architecture | None,
    workloads: Sequence[Workload],
    configurations: int,
    visits: int,
    store: Store,
    pool: ExportPool,
    seed: int,
    at_most: int = 0,
    thorough: bool = False,
    weighed: bool = False,
) -> list[Profile]:
    """Profile all targets side by side; goes on where an earlier call stopped.

    Args:
        around: the model whose sub-networks are measured, or None for encoders of many shapes.
        workloads: that the profile covers, and what lies between them.
        configurations: encoders that are measured first, and all where ``at_most`` is no more.
        at_most: encoders that are measured while a law is not sure enough (predictors.planner).
        thorough: find the tile size and the operator table of every target too, by more encoders, for
            the first of the workloads; and weigh some encoders.
        weighed: weigh some encoders in any case: file size, peak memory.
    """
    if configurations < LEAST:
        raise UsageError(f"A profile needs at least {LEAST} configurations, not {configurations}.")
    say_new_series(store, targets)
    known = candidates(around, workloads, seed)
    planners = {t: _planner(known, t, configurations, seed) for t in targets}
    chosen = [known[i] for i in planners[targets[0]].ask(configurations)]
    first = workloads[0]
    dense = trimmed(around or uniform(*USUAL), first.length)
    probes, stacks = (plan_probes(dense), plan_stacks(dense)) if thorough else ([], [])
    stacked, paired = ([(a, first) for a in found] for found in (_stacked(stacks), _paired(probes)))
    parts = [
        # All take part in all rounds: what was done early would miss a quicker minute of the machine.
        _Part("measuring", CAMPAIGN, chosen, visits, visits),
        _Part("timing operators by", f"{CAMPAIGN}/operators", stacked, STACK_VISITS),
        # In rounds of their own, so short that the visits to a pair are never far apart.
        _Part("probing tiles by", f"{CAMPAIGN}/tiles", paired, PROBE_VISITS, PROBE_VISITS),
    ]
    with TemporaryDirectory(prefix="cutonce-profile-") as work:

        def measure(*parts: _Part) -> list[list[Measurement]]:
            wanted = [encoder for part in parts for encoder, _ in part.pairs]
            exported = _export(targets, list(dict.fromkeys(wanted)), Path(work), pool)
            return [_measure(part, targets, exported, store, seed) for part in parts]

        measured, by_operator, by_tile = measure(*parts)
        while more := _unsure(planners, known, measured, at_most):
            [found] = measure(replace(parts[0], pairs=more))
            measured += found
            if not found:
                break  # what fails again and again is said above
        done = {(m.target, m.architecture, m.workload) for m in measured}
        sound = [pair for pair in chosen if all((t, *pair) in done for t in targets)]
        heavy = to_weigh(sound) if thorough or weighed else []
        weights = _weigh(heavy, targets, Path(work), pool, store)
    devices = {target.device: target for target in targets} if thorough else {}
    speeds = {device: probe_speed(target) for device, target in devices.items()}
    profiles = []
    for target in targets:
        own = [m for m in measured if m.target == target]
        made = Profile(
            target,
            open_device(target.device).fingerprint(),
            _predictor(target, own, store),
            tuple(own),
            speeds.get(target.device),
            other_predictors(target, weights.get(target, {}), own),
            tuple(_judged(probe, target, by_tile) for probe in probes),
            tuple(operator_table(stacks, _took(target, by_operator))),
        )
        write_json(profile_path(store, target, made.fingerprint), made.to_json())
        profiles.append(made)
    return profiles


def _planner(known: Sequence[Pair], target: Target, first: int, seed: int) -> Planner:
    architectures, workloads = zip(*known, strict=True)
    return Planner(architectures, workloads, target.precision, first=first, seed=seed)


def _unsure(
    planners: Mapping[Target, Planner],
    known: Sequence[Pair],
    measured: Sequence[Measurement],
    at_most: int,
) -> list[Pair]:
    """What to measure next; empty where every law is sure, or ``at_most`` encoders were measured."""
    done = len({(m.architecture, m.workload) for m in measured})
    if done >= at_most:
        return []
    places = {pair: place for place, pair in enumerate(known)}
    for m in measured:
        planners[m.target].tell(places[m.architecture, m.workload], m.statistics.intrinsic)
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
    exported: Mapping[tuple[Target, Architecture], Path],
    store: Store,
    seed: int,
) -> list[Measurement]:
    if not part.pairs:
        return []
    jobs = [Job(t, a, workload, exported[t, a]) for t in targets for a, workload in part.pairs]
    title = f"{part.what} {len(part.pairs)} encoders on {len(targets)} target(s)"
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


def _weigh(
    pairs: Sequence[Pair], targets: Sequence[Target], work: Path, pool: ExportPool, store: Store
) -> dict[Target, dict[Pair, Footprint]]:
    if not pairs:
        return {}
    exported = _export(targets, [encoder for encoder, _ in pairs], work, pool)
    jobs = [Job(t, a, workload, exported[t, a]) for t in targets for a, workload in pairs]
    with progress(f"weighing {len(pairs)} encoders on {len(targets)} target(s)") as advance:
        found = weigh(jobs, store=store, campaign=WEIGHING, progress=advance)
    by_target: dict[Target, dict[Pair, Footprint]] = {target: {} for target in targets}
    for job, footprint in zip(jobs, found, strict=True):
        by_target[job.target][job.architecture, job.workload] = footprint
    return by_target


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


def _predictor(target: Target, measured: Sequence[Measurement], store: Store) -> LatencyPredictor:
    if len(measured) < LEAST:
        raise DeviceError(
            f"Only {len(measured)} encoders could be measured on {target}, a profile needs {LEAST}; "
            "what failed is said above. Mend that, and repeat: what was measured is kept."
        )
    return LatencyPredictor(target.precision).fit(
        [m.architecture for m in measured],
        [m.workload for m in measured],
        [m.statistics.intrinsic for m in measured],
        known=known_predictors(store, target),
    )

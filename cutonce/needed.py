"""The predictors that a search needs; what the store does not cover is profiled first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from cutonce.console import talk
from cutonce.profiles import stored_profile
from cutonce.profiling import make_profiles
from cutonce.setting import Setting
from deploy.architecture import Architecture
from deploy.workload import Workload
from devices.errors import UsageError
from devices.target import Target
from elastic.search.budget import Bound, Constraint
from elastic.space import SearchSpace
from predictors.predictor import LatencyPredictor
from predictors.quantity import FILE_SIZE, PEAK_MEMORY

WEIGHED: dict[Bound, str] = {"file": FILE_SIZE.name, "memory": PEAK_MEMORY.name}
ASKED, USUAL = 100, 0.9  # sub-networks, and the share of them that a profile has to cover


def needed_predictors(setting: Setting) -> dict[tuple[Target, Bound], LatencyPredictor]:
    """One predictor per target and bound; profiles what the store does not cover, and says so."""
    dense = setting.model.encoder.architecture
    constraints = [c for budget in setting.budgets for c in budget.constraints]
    for constraint in constraints:
        if constraint.bound == "memory" and constraint.target.virtual:
            raise _untold(constraint)
    bounds: dict[Target, set[Bound]] = {}
    for constraint in constraints:
        bounds.setdefault(constraint.target, {"intrinsic"}).add(constraint.bound)
    found: dict[tuple[Target, Bound], LatencyPredictor] = {}
    for target, wanted in bounds.items():
        kept = stored_profile(setting.store, target)
        if kept is not None and covers(kept.predictor, dense, setting.workload):
            found.update(_by_bound(target, wanted, kept.predictor, kept.others))
    missing = {t: some for t, some in bounds.items() if not {(t, b) for b in some} <= {*found}}
    if missing:
        talk(f"No profile covers this model on {', '.join(map(str, missing))}: profiling first.")
        profiles = make_profiles(
            list(missing),
            around=dense,
            workloads=[setting.workload],
            configurations=14,
            visits=setting.visits,
            store=setting.store,
            pool=setting.pool,
            seed=setting.seed,
            weighed=any(bound in WEIGHED for some in missing.values() for bound in some),
        )
        for profile in profiles:
            target, some = profile.target, missing[profile.target]
            found.update(_by_bound(target, some, profile.predictor, profile.others))
    for constraint in constraints:
        if (constraint.target, constraint.bound) not in found:
            raise _untold(constraint)
    return found


def _untold(constraint: Constraint) -> UsageError:
    return UsageError(
        f"{constraint.target} does not tell its peak memory, which {constraint.text} bounds; bound the "
        "file instead (20MB)."
    )


def covers(predictor: LatencyPredictor, dense: Architecture, workload: Workload) -> bool:
    """Whether a model and its usual sub-networks are in the predictor's domain, as a profile around the
    model has them; the smallest ones are rarely in any, so they are not asked for."""
    space, rng = SearchSpace.around(dense), np.random.default_rng(0)
    networks = [dense, *(space.architecture(space.sample(rng)) for _ in range(ASKED))]
    inside = predictor.in_domain(networks, [workload] * len(networks))
    return bool(inside[0]) and inside.mean() >= USUAL


def _by_bound(
    target: Target,
    bounds: Iterable[Bound],
    latency: LatencyPredictor,
    others: Mapping[str, LatencyPredictor],
) -> dict[tuple[Target, Bound], LatencyPredictor]:
    known = {bound: others.get(WEIGHED[bound]) if bound in WEIGHED else latency for bound in bounds}
    return {(target, bound): found for bound, found in known.items() if found is not None}

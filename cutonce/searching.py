"""The flow of a search, from a dense model to one measured sub-network per budget."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from cutonce.console import progress, talk
from cutonce.evidence import evidence, interval_json
from cutonce.profiles import stored_profile, stored_tile
from cutonce.profiling import make_profiles
from cutonce.runs import DENSE
from cutonce.scores import headline
from cutonce.setting import Setting
from cutonce.subnets import read_record, save_subnet
from cutonce.tasks import predict_with
from deploy.encoder import Encoder
from devices.errors import UsageError
from devices.files import write_json
from devices.target import Target
from elastic.elastic_encoder import ElasticEncoder
from elastic.recipes.distil import Lesson, distil
from elastic.reconstruction.database import Database, eliminated
from elastic.reconstruction.least_squares import reconstruct
from elastic.search.budget import Bound
from elastic.search.deployment import Deployment
from elastic.search.judge import Judge
from elastic.search.knapsack import Errors, front
from elastic.search.loop import cut_to_budgets
from elastic.search.losses import Joint, kept
from elastic.search.rounds import Cut
from elastic.search.sensitivity import Divergence, module_errors, sub_network
from elastic.space import WIDTH_STEP, Chain, SearchSpace, chain_text
from predictors.predictor import LatencyPredictor
from predictors.quantity import FILE_SIZE, PEAK_MEMORY

CALIBRATION_EXAMPLES = 512
ERROR_EXAMPLES = 64
LOSS_EXAMPLES = 256
WEIGHED: dict[Bound, str] = {"file": FILE_SIZE.name, "memory": PEAK_MEMORY.name}
FRONT_POINTS = 8


def search_flow(setting: Setting) -> dict[str, Any]:
    """Run the whole search; returns the evidence that becomes run.json."""
    warnings: list[str] = []

    def warn(sentence: str) -> None:
        warnings.append(sentence)
        talk(f"Warning: {sentence}")

    dense = setting.model.encoder
    setting.task.check_fits(dense.architecture)
    predictors = ensure_predictors(setting)
    latencies = {
        target: found for (target, bound), found in predictors.items() if bound == "intrinsic"
    }
    space = make_space(setting, latencies)
    elastic, database = make_elastic(setting)
    errors = make_errors(setting, elastic, space, database)
    joint = make_joint(setting, elastic, space, database)
    deployment = Deployment(
        elastic,
        space,
        setting.workload,
        store=setting.store,
        pool=setting.pool,
        campaign=f"search/{setting.run.id}",
        work=setting.run.work / "networks",
        dense=setting.run.path / DENSE,
        visits=setting.visits,
        seed=setting.seed,
        progress=progress,
    )
    cuts = cut_to_budgets(
        deployment,
        Judge(errors, joint, seed=setting.seed, progress=progress),
        predictors,
        setting.budgets,
        rounds=setting.rounds,
        warn=warn,
    )
    evaluated = evaluate_front(setting, elastic, database, space, errors, joint, cuts)
    for cut in cuts:
        for sentence in doubts(cut, latencies[cut.budget.target]):
            warn(f"{cut.budget.text}: {sentence}")
    names = recover(setting, elastic, space, cuts)
    return evidence(setting, space, latencies, cuts, names, evaluated, warnings)


def ensure_predictors(setting: Setting) -> dict[tuple[Target, Bound], LatencyPredictor]:
    """One predictor per target and bound; profiles what the store does not cover, and says so."""
    constraints = [c for budget in setting.budgets for c in budget.constraints]
    bounds: dict[Target, set[Bound]] = {}
    for constraint in constraints:
        bounds.setdefault(constraint.target, {"intrinsic"}).add(constraint.bound)
    found: dict[tuple[Target, Bound], LatencyPredictor] = {}
    for target, wanted in bounds.items():
        kept = stored_profile(setting.store, target)
        if kept is not None and _covers(kept.predictor, setting):
            found.update(_by_bound(target, wanted, kept.predictor, kept.others))
    missing = {t: some for t, some in bounds.items() if not {(t, b) for b in some} <= {*found}}
    if missing:
        talk(f"No profile covers this model on {', '.join(map(str, missing))}: profiling first.")
        profiles = make_profiles(
            list(missing),
            around=setting.model.encoder.architecture,
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
            raise UsageError(
                f"{constraint.target} does not tell its peak memory, which {constraint.text} bounds; "
                "bound the file instead (20MB)."
            )
    return found


def _covers(predictor: LatencyPredictor, setting: Setting) -> bool:
    """Whether the dense model and its smallest sub-networks are in the predictor's domain."""
    dense = setting.model.encoder.architecture
    shallow = dense.with_operators([*dense.operators[:1], *[None] * (len(dense.operators) - 1)])
    return bool(predictor.in_domain([dense, shallow], [setting.workload] * 2).all())


def _by_bound(
    target: Target,
    bounds: Iterable[Bound],
    latency: LatencyPredictor,
    others: Mapping[str, LatencyPredictor],
) -> dict[tuple[Target, Bound], LatencyPredictor]:
    known = {bound: others.get(WEIGHED[bound]) if bound in WEIGHED else latency for bound in bounds}
    return {(target, bound): found for bound, found in known.items() if found is not None}


def make_space(setting: Setting, targets: Iterable[Target]) -> SearchSpace:
    """The space around the dense model; widths step by the largest tile found on any target.

    An interrupted search goes on in the space that it began with, whatever was profiled meanwhile.
    """
    kept = setting.run.work / "space.json"
    if kept.exists():
        return SearchSpace.from_json(json.loads(kept.read_text()))
    tiles = [stored_tile(setting.store, target) for target in targets]
    step = max((tile for tile in tiles if tile is not None), default=WIDTH_STEP)
    space = SearchSpace.around(setting.model.encoder.architecture, width_step=step)
    write_json(kept, space.to_json())
    return space


def doubts(cut: Cut, predictor: LatencyPredictor) -> list[str]:
    """What to doubt about the network chosen for a budget."""
    measurement = cut.chosen.measurement
    found = list(measurement.warnings)
    if not predictor.in_domain([measurement.architecture], [measurement.workload]).all():
        found.append(
            "The chosen network lies outside of what was profiled, so its prediction is an "
            "extrapolation; what was measured stands. Profile with more --configurations to narrow it."
        )
    return found


def make_elastic(setting: Setting) -> tuple[ElasticEncoder, Database]:
    """The elastic encoder in the order of elimination, and what its sub-layers could be, from texts of
    the train split without their labels."""
    with progress("order of heads and neurons"):
        batches = setting.task.batches("train", limit=CALIBRATION_EXAMPLES)
        return eliminated(setting.model.encoder, batches, seed=setting.seed)


def make_errors(
    setting: Setting, elastic: ElasticEncoder, space: SearchSpace, database: Database
) -> Errors:
    """The error of every module's every choice, from texts of the search split without their labels."""
    place = setting.run.work / "errors.json"
    if place.exists():
        return [np.asarray(row) for row in json.loads(place.read_text())]
    batches = setting.task.batches("search", limit=ERROR_EXAMPLES)
    with progress("error of every module at every size") as advance:
        errors = module_errors(elastic, space, batches, database, progress=advance)
    write_json(place, [row.tolist() for row in errors])
    return errors


def make_joint(
    setting: Setting, elastic: ElasticEncoder, space: SearchSpace, database: Database
) -> Joint:
    """The divergence of choices on texts of the search split, each evaluated once."""
    batches = setting.task.batches("search", limit=LOSS_EXAMPLES)
    apart = Divergence(elastic, batches, database)
    return kept(
        lambda choice, every: apart(space.chain(choice), every), setting.run.work / "losses.jsonl"
    )


def evaluate_front(
    setting: Setting,
    elastic: ElasticEncoder,
    database: Database,
    space: SearchSpace,
    errors: Errors,
    joint: Joint,
    cuts: list[Cut],
) -> list[dict[str, Any]]:
    """Loss and score on the search split of every network measured, and along each front, each
    sub-layer refitted by itself."""
    tables = {cut.budget.target: cut.table for cut in cuts}
    sources = {tuple(space.dense): "dense"}
    for table in tables.values():
        for choice in front(errors, table, FRONT_POINTS):
            sources.setdefault(tuple(map(int, choice)), "front")
    for cut in cuts:
        sources.update({step.choice: "budget" for step in cut.rounds})
    reference = setting.task.answers(predict_with(setting.model.encoder), "search")
    rows = []
    with progress("evaluating the fronts") as advance:
        for done, (choice, source) in enumerate(sources.items()):
            chain = space.chain(choice)
            with sub_network(elastic, chain, database):
                scores = setting.task.evaluate(predict_with(elastic), "search", reference)
            found = headline(scores)
            rows.append(
                {
                    "chain": chain_text(chain, space.base),
                    "kl": joint(choice, 1),
                    "score": found[1] if found and setting.task.labelled else None,
                    "ms": {
                        str(t): interval_json(table.predict(choice)) for t, table in tables.items()
                    },
                    "source": source,
                }
            )
            advance(done + 1, len(sources))
    return rows


def recover(
    setting: Setting, elastic: ElasticEncoder, space: SearchSpace, cuts: list[Cut]
) -> list[str]:
    """Extract, refit, briefly distil and save the chosen network of every budget; returns their names."""
    names = []
    lesson: Lesson | None = None
    for cut in cuts:
        name = cut.budget.name
        names.append(name)
        directory = setting.run.path / "subnets" / name
        choice = cut.chosen.choice
        chain = chain_text(space.chain(choice), space.base)
        if directory.exists() and (read_record(directory) or {}).get("chain") == chain:
            continue
        student = _refitted(setting, elastic, space.chain(choice), name)
        if not cut.keeps_dense and setting.epochs > 0:
            with progress(f"distilling {name}") as advance:
                lesson = lesson or Lesson(setting.model.encoder, setting.task)
                distil(
                    student,
                    lesson,
                    epochs=setting.epochs,
                    seed=setting.seed,
                    out=setting.run.work / "distil" / name,
                    progress=advance,
                )
        save_subnet(
            directory,
            student,
            tokenizer=setting.model.tokenizer,
            budget=cut.budget,
            limit=cut.chosen.first.limit,
            workload=setting.workload,
            chain=chain,
            source=setting.model.source,
            task=setting.task,
        )
    return names


def _refitted(setting: Setting, elastic: ElasticEncoder, chain: Chain, name: str) -> Encoder:
    """The sub-network with weights that make up for what was cut, as far as a closed form can."""
    student = elastic.extract(chain)
    if chain != elastic.architecture.operators:
        with progress(f"refitting {name}"):
            batches = setting.task.batches("train", limit=CALIBRATION_EXAMPLES)
            reconstruct(elastic.dense, student, chain, batches)
    return student

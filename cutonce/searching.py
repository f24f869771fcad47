"""The flow of a search, from a dense model to one measured sub-network per budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from cutonce.console import progress, talk
from cutonce.evidence import evidence, interval_json
from cutonce.needed import needed_predictors
from cutonce.runs import DENSE
from cutonce.scores import headline
from cutonce.setting import Setting
from cutonce.subnets import read_record, save_subnet
from cutonce.supernets import CALIBRATION_EXAMPLES, make_supernets
from cutonce.tasks import predict_with
from deploy.encoder import Encoder
from deploy.task import Task
from devices.target import Target
from elastic.quality import Array, label_losses
from elastic.recipes.distil import Lesson, distil
from elastic.reconstruction.least_squares import reconstruct
from elastic.search.deployment import Deployment
from elastic.search.knapsack import front
from elastic.search.loop import cut_to_budgets
from elastic.search.rounds import Cut
from elastic.search.supernet import Network
from predictors.predictor import LatencyPredictor

FRONT_POINTS = 8
NAMED = 2  # budgets that a warning is about, beyond which they are counted


def search_flow(setting: Setting) -> dict[str, Any]:
    """Run the whole search; returns the evidence that becomes run.json."""
    warnings: list[str] = []

    def warn(sentence: str) -> None:
        warnings.append(sentence)
        talk(f"Warning: {sentence}")

    dense = setting.model.encoder
    setting.task.check_fits(dense.architecture)
    predictors = needed_predictors(setting)
    latencies = {
        target: found for (target, bound), found in predictors.items() if bound == "intrinsic"
    }
    supernets = make_supernets(setting, latencies)
    deployment = Deployment(
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
        supernets,
        predictors,
        setting.budgets,
        label_losses=partial(_label_losses, setting.task),
        rounds=setting.rounds,
        warn=warn,
    )
    evaluated = evaluate_front(setting, latencies, supernets[0].dense, cuts)
    for sentence in doubts(cuts, latencies):
        warn(sentence)
    names = recover(setting, cuts)
    return evidence(setting, supernets, latencies, cuts, names, evaluated, warnings)


def _label_losses(task: Task, network: Network) -> Array | None:
    """Against the labels of the search split."""
    elastic = network.supernet.elastic
    with network.active():
        return label_losses(elastic, elastic.architecture, task)


def doubts(cuts: Sequence[Cut], latencies: Mapping[Target, LatencyPredictor]) -> Iterator[str]:
    """What to doubt about the networks chosen, each said once with the budgets that it is about."""
    about: dict[str, list[str]] = {}
    for cut in cuts:
        for doubt in _doubts(cut, latencies[cut.budget.target]):
            about.setdefault(doubt, []).append(cut.budget.text)
    for doubt, budgets in about.items():
        named = " and ".join(budgets)
        whose = named if len(budgets) <= NAMED else f"{len(budgets)} of {len(cuts)} budgets"
        yield f"{whose}: {doubt}"


def _doubts(cut: Cut, predictor: LatencyPredictor) -> list[str]:
    measurement = cut.chosen.measurement
    found = list(measurement.warnings)
    if not predictor.in_domain([measurement.architecture], [measurement.workload]).all():
        found.append(
            "The chosen network lies outside of what was profiled, so its prediction is an "
            "extrapolation; what was measured stands. Profile with more --configurations to narrow it."
        )
    return found


def evaluate_front(
    setting: Setting,
    latencies: Mapping[Target, LatencyPredictor],
    dense: Network,
    cuts: Sequence[Cut],
) -> list[dict[str, Any]]:
    """Loss and score on the search split of every network measured, and along each front, each
    sub-layer refitted by itself."""
    sources = {dense: "dense"}
    for cut in cuts:
        for choice in front(cut.supernet.errors, cut.table, FRONT_POINTS):
            sources.setdefault(Network(cut.supernet, tuple(map(int, choice))), "front")
    for cut in cuts:
        sources.update({step.network: "budget" for step in cut.rounds})
    reference = setting.task.answers(predict_with(setting.model.encoder), "search")
    rows = []
    with progress("evaluating the fronts") as advance:
        for done, (network, source) in enumerate(sources.items()):
            with network.active():
                predict = predict_with(network.supernet.elastic)
                scores = setting.task.evaluate(predict, "search", reference)
            found = headline(scores)
            rows.append(
                {
                    "chain": network.chain_text,
                    "trunk": network.trunk_text,
                    "taught": network.supernet.taught,
                    "kl": network.supernet.judge.error(network.choice),
                    "score": found[1] if found and setting.task.labelled else None,
                    "ms": {
                        str(target): _predicted(setting, predictor, network)
                        for target, predictor in latencies.items()
                    },
                    "source": source,
                }
            )
            advance(done + 1, len(sources))
    return rows


def _predicted(setting: Setting, predictor: LatencyPredictor, network: Network) -> dict[str, float]:
    encoders, workloads = [network.architecture], [setting.workload]
    lower, upper = predictor.predict_interval(encoders, workloads)
    ms = predictor.predict(encoders, workloads)
    return interval_json((float(lower[0]), float(ms[0]), float(upper[0])))


def recover(setting: Setting, cuts: Sequence[Cut]) -> list[str]:
    """Extract, refit, briefly distil and save the chosen network of every budget; returns their names."""
    names = []
    lesson: Lesson | None = None
    for cut in cuts:
        name, network = cut.budget.name, cut.chosen.network
        names.append(name)
        directory = setting.run.path / "subnets" / name
        known = read_record(directory) if directory.exists() else None
        same = (network.chain_text, network.trunk_text, network.supernet.taught)
        if known and (known["chain"], known.get("trunk", ""), known.get("taught", False)) == same:
            continue
        student = _refitted(setting, network, name)
        if not cut.keeps_dense and setting.epochs > 0:
            with progress(f"distilling {name}") as advance:
                lesson = lesson or Lesson(setting.model.encoder, setting.task)
                better = distil(
                    student,
                    lesson,
                    epochs=setting.epochs,
                    seed=setting.seed,
                    out=setting.run.work / "distil" / name,
                    progress=advance,
                )
            if not better:
                talk(f"{name} stays as it was: distilled it is no better.")
        save_subnet(
            directory,
            student,
            tokenizer=setting.model.tokenizer,
            step=cut.chosen,
            workload=setting.workload,
            source=setting.model.source,
            task=setting.task,
        )
    return names


def _refitted(setting: Setting, network: Network, name: str) -> Encoder:
    """The sub-network with weights that make up for what was cut, as far as a closed form can, unless
    it was trained."""
    student, elastic = network.extract(), network.supernet.elastic
    trained = network.supernet.database is None
    if not trained and network.chain != elastic.architecture.operators:
        with progress(f"refitting {name}"):
            batches = setting.task.batches("train", limit=CALIBRATION_EXAMPLES)
            reconstruct(elastic.dense, student, network.chain, batches)
    return student

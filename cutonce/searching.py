"""The flow of a search, from a dense model to one measured sub-network per budget."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from cutonce import __version__
from cutonce.console import progress, talk
from cutonce.profiles import make_profiles, stored_predictor
from cutonce.runs import Run
from cutonce.subnets import save_subnet
from deploy.costs import parameters
from deploy.encoder import Encoder
from deploy.export_pool import ExportPool
from deploy.task import Task
from deploy.workload import Workload
from devices.device import open_device
from devices.files import write_json
from devices.target import Target
from elastic.elastic_encoder import ElasticEncoder
from elastic.families import LoadedModel
from elastic.importance import IMPORTANCES
from elastic.recipes.distil import distil
from elastic.search.budget import Budget
from elastic.search.knapsack import front
from elastic.search.loop import Cut, Deployment, chain_text, cut_to_budgets
from elastic.search.sensitivity import kl, module_errors
from elastic.space import SearchSpace
from predictors.predictor import LatencyPredictor
from profiler.store import Store

IMPORTANCE_EXAMPLES = 512
SENSITIVITY_EXAMPLES = 256
FRONT_POINTS = 8
Errors = Sequence[np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Setting:
    """What one search works with."""

    model: LoadedModel
    task: Task
    workload: Workload
    budgets: tuple[Budget, ...]
    store: Store
    pool: ExportPool
    run: Run
    visits: int
    rounds: int
    epochs: float
    seed: int


def search_flow(setting: Setting) -> dict[str, Any]:
    """Run the whole search; returns the evidence that becomes run.json."""
    warnings: list[str] = []

    def warn(sentence: str) -> None:
        warnings.append(sentence)
        talk(f"Warning: {sentence}")

    dense = setting.model.encoder
    setting.task.check_fits(dense.architecture)
    predictors = ensure_predictors(setting)
    space = SearchSpace.around(dense.architecture)
    elastic, errors = make_elastic(setting, space)
    deployment = Deployment(
        elastic,
        space,
        setting.workload,
        store=setting.store,
        pool=setting.pool,
        campaign=f"search/{setting.run.id}",
        work=setting.run.work / "networks",
        visits=setting.visits,
        seed=setting.seed,
        progress=progress,
    )
    cuts = cut_to_budgets(
        deployment, errors, predictors, setting.budgets, rounds=setting.rounds, warn=warn
    )
    evaluated = evaluate_front(setting, elastic, space, errors, cuts)
    for cut in cuts:
        chosen = cut.dense if cut.keeps_dense else cut.best(errors).measurement
        for warning in chosen.warnings:
            warn(f"{cut.budget.text}: {warning}")
    names = recover(setting, elastic, space, errors, cuts)
    return evidence(setting, space, errors, predictors, cuts, names, evaluated, warnings)


def ensure_predictors(setting: Setting) -> dict[Target, LatencyPredictor]:
    """One predictor per target; profiles what the store does not cover, and says so."""
    targets = list(dict.fromkeys(budget.target for budget in setting.budgets))
    dense = setting.model.encoder.architecture
    found: dict[Target, LatencyPredictor] = {}
    for target in targets:
        predictor = stored_predictor(setting.store, target)
        if predictor is not None and predictor.in_domain([dense], [setting.workload])[0]:
            found[target] = predictor
    missing = [target for target in targets if target not in found]
    if missing:
        talk(f"No profile covers this model on {', '.join(map(str, missing))}: profiling first.")
        profiles = make_profiles(
            missing,
            around=dense,
            workload=setting.workload,
            configurations=14,
            visits=setting.visits,
            store=setting.store,
            pool=setting.pool,
            seed=setting.seed,
        )
        found.update({profile.target: profile.predictor for profile in profiles})
    return found


def make_elastic(setting: Setting, space: SearchSpace) -> tuple[ElasticEncoder, Errors]:
    """The elastic encoder in importance order, and the error of every module's every choice.

    Both come from unlabelled text: importance from the train split, errors from the search split.
    """
    dense, task = setting.model.encoder, setting.task
    with progress("importance of heads and neurons"):
        batches = task.batches("train", limit=IMPORTANCE_EXAMPLES)
        importance = IMPORTANCES.get("fisher")(dense, batches, seed=setting.seed)
        elastic = ElasticEncoder(dense, importance)
    kept = setting.run.work / "errors.json"
    if kept.exists():
        return elastic, [np.asarray(row) for row in json.loads(kept.read_text())]
    batches = task.batches("search", limit=SENSITIVITY_EXAMPLES)
    with progress("error of every module at every size") as advance:
        errors = module_errors(elastic, space, batches, progress=advance)
    write_json(kept, [row.tolist() for row in errors])
    return elastic, errors


def predict_with(model: torch.nn.Module) -> Any:
    """A function from input arrays to logits, for Task.evaluate."""

    def predict(inputs: Any) -> np.ndarray[Any, Any]:
        with torch.inference_mode():
            return model(**{k: torch.from_numpy(v) for k, v in inputs.items()}).float().numpy()

    return predict


def evaluate_front(
    setting: Setting, elastic: ElasticEncoder, space: SearchSpace, errors: Errors, cuts: list[Cut]
) -> list[dict[str, Any]]:
    """Loss and accuracy on the search split of every network measured, and along each front."""
    tables = {cut.budget.target: cut.table for cut in cuts}
    sources = {tuple(space.dense): "dense"}
    for table in tables.values():
        for choice in front(errors, table, FRONT_POINTS):
            sources.setdefault(tuple(map(int, choice)), "front")
    for cut in cuts:
        sources.update({step.choice: "budget" for step in cut.rounds})
    batches = setting.task.batches("search", limit=SENSITIVITY_EXAMPLES)
    reference = setting.task.logits(predict_with(setting.model.encoder), "search")
    rows = []
    with progress("evaluating the fronts") as advance:
        for done, (choice, source) in enumerate(sources.items()):
            chain = space.chain(choice)
            with elastic.active(chain):
                metrics = setting.task.evaluate(predict_with(elastic), "search", reference)
            rows.append(
                {
                    "chain": chain_text(chain),
                    "kl": kl(elastic, chain, batches),
                    "accuracy": metrics.get("accuracy"),
                    "ms": {str(t): _interval(table.predict(choice)) for t, table in tables.items()},
                    "source": source,
                }
            )
            advance(done + 1, len(sources))
    return rows


def _interval(predicted: tuple[float, float, float]) -> dict[str, float]:
    lower, ms, upper = predicted
    return {"lower": lower, "predicted": ms, "upper": upper}


def recover(
    setting: Setting, elastic: ElasticEncoder, space: SearchSpace, errors: Errors, cuts: list[Cut]
) -> list[str]:
    """Extract, briefly distil and save the chosen network of every budget; returns their names."""
    names = []
    for cut in cuts:
        name = cut.budget.name
        names.append(name)
        directory = setting.run.path / "subnets" / name
        if directory.exists():
            continue
        choice = tuple(space.dense) if cut.keeps_dense else cut.best(errors).choice
        student = elastic.extract(space.chain(choice))
        if not cut.keeps_dense and setting.epochs > 0:
            with progress(f"distilling {name}") as advance:
                distil(
                    student,
                    setting.model.encoder,
                    setting.task,
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
            limit=cut.limit,
            workload=setting.workload,
            chain=chain_text(space.chain(choice)),
            source=setting.model.source,
            task=setting.task,
        )
    return names


def evidence(
    setting: Setting,
    space: SearchSpace,
    errors: Errors,
    predictors: dict[Target, LatencyPredictor],
    cuts: list[Cut],
    names: list[str],
    evaluated: list[dict[str, Any]],
    warnings: list[str],
) -> dict[str, Any]:
    """What run.json holds. The report split is looked at here, and nowhere before."""
    dense = setting.model.encoder
    dense_metrics = _metrics(setting.task, dense, dense)
    measured = {cut.budget.target: cut.dense for cut in cuts}
    return {
        "cutonce": __version__,
        "source": setting.model.source,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": setting.seed,
        "workload": setting.workload.to_json(),
        "task": setting.task.to_json(),
        "machines": {t.device: open_device(t.device).fingerprint().to_json() for t in predictors},
        "versions": _versions(),
        "dense": {
            "architecture": dense.architecture.to_json(),
            "chain": chain_text(space.chain(space.dense)),
            "parameters": parameters(dense.architecture),
            "size_bytes": 4 * parameters(dense.architecture),
            "metrics": dense_metrics,
            "measured": {str(t): m.statistics.to_json() for t, m in measured.items()},
        },
        "targets": {
            str(t): _target_evidence(setting, t, predictor, cuts)
            for t, predictor in predictors.items()
        },
        "evaluated": evaluated,
        "budgets": [
            _budget_evidence(setting, space, errors, cut, name)
            for cut, name in zip(cuts, names, strict=True)
        ],
        "warnings": warnings,
    }


def _target_evidence(
    setting: Setting, target: Target, predictor: LatencyPredictor, cuts: list[Cut]
) -> dict[str, Any]:
    mine = [cut for cut in cuts if cut.budget.target == target]
    steps = [step for cut in mine for step in cut.rounds]
    counts = {"attention": 0, "feed_forward": 0}
    operators = []
    for kind, ms in predictor.shares(setting.model.encoder.architecture, setting.workload):
        if kind in counts:
            counts[kind] += 1
        name = f"{kind.replace('_', '-')} {counts[kind]}" if kind in counts else kind
        operators.append({"name": name, "ms": ms})
    return {
        "profile": {
            "measurements": len(predictor.loo),
            "error": predictor.error,
            "coverage": predictor.coverage,
        },
        "loo": [row.to_json() for row in predictor.loo],
        "checked": [
            {
                "label": str(step.measurement.architecture),
                **_interval(step.predicted),
                "measured": step.measurement.statistics.p20,
                "interval": list(step.measurement.statistics.interval),
            }
            for step in steps
        ],
        "operators": operators,
    }


def _budget_evidence(
    setting: Setting, space: SearchSpace, errors: Errors, cut: Cut, name: str
) -> dict[str, Any]:
    encoder = Encoder.from_pretrained(setting.run.path / "subnets" / name)
    if cut.keeps_dense:
        choice, measurement, speedup = tuple(space.dense), cut.dense, 1.0
        status = "dense meets it"
    else:
        step = cut.best(errors)
        choice, measurement, speedup = step.choice, step.measurement, step.speedup
        status = "met" if cut.fits(step) else "missed"
    statistics = measurement.statistics
    return {
        "budget": cut.budget.text,
        "name": name,
        "target": str(cut.budget.target),
        "limit": cut.limit,
        "bound": cut.budget.bound,
        "status": status,
        "subnet": f"subnets/{name}",
        "chain": chain_text(space.chain(choice)),
        "architecture": encoder.architecture.to_json(),
        "parameters": parameters(encoder.architecture),
        "size_bytes": 4 * parameters(encoder.architecture),
        "predicted": dict(zip(("lower", "ms", "upper"), cut.table.predict(choice), strict=True)),
        "measured": statistics.to_json(),
        "within": measurement.within(cut.limit),
        "speedup": speedup,
        "metrics": _metrics(setting.task, encoder, setting.model.encoder),
        "rounds": [step.to_json(space, cut.budget) for step in cut.rounds],
    }


def _metrics(task: Task, model: Encoder, dense: Encoder) -> dict[str, dict[str, float]]:
    """The task's metrics and the agreement with the dense model, on the two held-out splits."""
    scores = {}
    for split in ("search", "report"):
        reference = task.logits(predict_with(dense), split)
        scores[split] = task.evaluate(predict_with(model), split, reference)
    return scores


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in (
        "torch",
        "transformers",
        "onnx",
        "onnxscript",
        "onnxruntime",
        "openvino",
        "nncf",
        "numpy",
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

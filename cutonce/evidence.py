"""What a search leaves behind: the evidence that run.json holds and the report draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isnan
from typing import Any

from cutonce import __version__
from cutonce.setting import Setting
from cutonce.tasks import predict_with
from deploy.costs import parameters
from deploy.encoder import Encoder
from deploy.manifest import versions
from deploy.task import Task
from devices.device import open_device
from devices.target import Target
from elastic.search.rounds import Cut
from elastic.search.strategies.natural_gradient import SURE
from elastic.search.supernet import Supernet
from elastic.space import chain_text
from predictors.predictor import LatencyPredictor

Reference = Mapping[str, Sequence[Any]]
"""The dense model's answers per split."""


def evidence(
    setting: Setting,
    supernets: Sequence[Supernet],
    predictors: dict[Target, LatencyPredictor],
    cuts: list[Cut],
    names: list[str],
    evaluated: list[dict[str, Any]],
    warnings: list[str],
) -> dict[str, Any]:
    """What run.json holds. The report split is looked at here, and nowhere before."""
    dense, space = setting.model.encoder, supernets[0].space
    reference = {
        split: setting.task.answers(predict_with(dense), split) for split in ("search", "report")
    }
    measured = {cut.budget.target: cut.start.measurement for cut in cuts}
    judges = [supernet.judge for supernet in supernets]
    errors = [error for judge in judges for error in judge.evaluated.values()]
    unreachable = [b for b in setting.budgets if b not in [cut.budget for cut in cuts]]
    return {
        "cutonce": __version__,
        "source": setting.model.source,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": setting.seed,
        "workload": setting.workload.to_json(),
        "task": setting.task.to_json(),
        "machines": {t.device: open_device(t.device).fingerprint().to_json() for t in predictors},
        "versions": versions(),
        "space": space.to_json(),
        "dense": {
            "architecture": dense.architecture.to_json(),
            "chain": chain_text(space.chain(space.dense), space.base),
            "parameters": parameters(dense.architecture),
            "metrics": _metrics(setting.task, dense, reference),
            "measured": {str(t): m.statistics.to_json() for t, m in measured.items()},
        },
        "targets": {
            str(t): _target_evidence(setting, t, predictor, cuts)
            for t, predictor in predictors.items()
        },
        "search": {
            "evaluations": len(errors),
            "failed": sum(map(isnan, errors)),
            "seconds": sum(judge.seconds for judge in judges),
            "evaluating_seconds": sum(judge.evaluating_seconds for judge in judges),
        },
        "evaluated": evaluated,
        "budgets": [
            _budget_evidence(setting, cut, name, reference)
            for cut, name in zip(cuts, names, strict=True)
        ],
        "unreachable": [budget.text for budget in unreachable],
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
                **interval_json(step.first.predicted),
                "measured": step.measurement.statistics.intrinsic,
                "interval": list(step.measurement.statistics.interval),
            }
            for step in steps
        ],
        "operators": operators,
    }


def _budget_evidence(
    setting: Setting,
    cut: Cut,
    name: str,
    reference: Reference,
) -> dict[str, Any]:
    encoder = Encoder.from_pretrained(setting.run.path / "subnets" / name)
    step = cut.chosen
    met = "dense meets it" if cut.keeps_dense else "met"
    return {
        "budget": cut.budget.text,
        "name": name,
        "target": str(cut.budget.target),
        "limit": step.first.limit,
        "bound": cut.budget.first.bound,
        "status": met if step.fits else "missed",
        "subnet": f"subnets/{name}",
        "chain": step.network.chain_text,
        "trunk": step.network.trunk_text,
        "taught": step.network.supernet.taught,
        "architecture": encoder.architecture.to_json(),
        "parameters": parameters(encoder.architecture),
        "size_bytes": step.first.deployed.size_bytes,
        "dense_size_bytes": cut.start.first.deployed.size_bytes,
        "predicted": dict(zip(("lower", "ms", "upper"), step.first.predicted, strict=True)),
        "measured": step.measurement.statistics.to_json(),
        "within": step.measurement.within(step.first.limit),
        "speedup": step.speedup,
        "metrics": _metrics(setting.task, encoder, reference),
        "further": [taken.to_json() for taken in step.taken[1:]],
        "rounds": [step.to_json() for step in cut.rounds],
        "certificate": _certificate(cut),
    }


def _certificate(cut: Cut) -> dict[str, float] | None:
    """The divergence found, in nats, and what no network that is predicted to be as fast is below with
    this probability, as far as the posterior knows (elastic.search.strategies.natural_gradient): the same
    share of the divergence on all texts as of that on those of the search."""
    found = cut.certificate
    loss = cut.judge.error(cut.chosen.network.choice)
    return (
        None
        if found is None
        else {"loss": loss, "bound": loss * (1 - found.gain), "probability": SURE}
    )


def _metrics(task: Task, model: Encoder, reference: Reference) -> dict[str, dict[str, float]]:
    """The task's metrics and the agreement with the dense model's answers, on each split of these."""
    return {
        split: task.evaluate(predict_with(model), split, answers)
        for split, answers in reference.items()
    }


def interval_json(predicted: tuple[float, float, float]) -> dict[str, float]:
    """A prediction with its interval, in milliseconds."""
    lower, ms, upper = predicted
    return {"lower": lower, "predicted": ms, "upper": upper}

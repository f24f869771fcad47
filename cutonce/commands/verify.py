"""Check artifacts where they are: hashes, parity, task metric, every limit of the budget.

All artifacts are measured in one interleaved campaign. A budget that is a fraction of the dense model's
latency is judged beside the dense model, where the run that holds the artifact has it. Exit code 3 when
one does not hold, or a file of one was changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutonce.console import limits, progress, show_table, talk
from cutonce.options import add_measuring, add_out, keep, require_at_least
from cutonce.scores import quoted

if TYPE_CHECKING:
    from cutonce.proof import Subject
    from cutonce.trials import Outcome, Trial
    from deploy.artifact import Artifact
    from profiler.store import Store

ATTEMPTS = 3  # see verify
SPREAD_SECONDS = 30.0  # over which a further attempt is spread, for slow episodes last so long
METRIC_TOLERANCE = 0.005  # accuracy may differ so much between the machines that ran it


def verify(
    directories: Sequence[str | Path],
    *,
    data: str | Path | None = None,
    evaluation: str | Path | None = None,
    visits: int = 30,
    store: str | Path | None = None,
    out: str | Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """What was checked of every artifact, and whether all of it holds.

    Where a budget is missed, more visits are added to those taken, twice at most and spread over a
    longer time, and the statistics are over all of them: an intrinsic latency is what undisturbed
    visits show, and a slow episode of the machine can outlast one campaign.

    Args:
        data, evaluation: where the task's files are now; default: where they were.
        out: write the result there too, as JSON.

    Raises:
        ArtifactError: a directory is no artifact.
        ArtifactChanged: a file of one was changed, is missing or does not belong to it.
    """
    from cutonce.proof import Subject
    from cutonce.trials import Promise, Trial, dense_of
    from deploy.artifact import Artifact
    from profiler.store import open_store

    require_at_least(1, visits=visits)
    artifacts = [Artifact.open(Path(directory)) for directory in directories]
    for artifact in artifacts:
        artifact.check_hashes()
    rows, trials = [], []
    for artifact in artifacts:
        subject = Subject(artifact.encoder(), artifact.target, artifact.exported, artifact.workload)
        with progress(f"parity and metric of {artifact.directory.name}"):
            rows.append(_check(artifact, subject, data, evaluation))
        reports = artifact.reports
        promises = Promise.read(
            reports.get("latency") or reports.get("promise") or {}, artifact.target
        )
        run = artifact.directory.resolve().parent.parent
        beside = dense_of(run, subject.target, subject.workload) if promises else None
        trials.append(Trial(subject, promises, beside))
    with open_store(store) as opened:
        outcomes = _measure(trials, opened, visits, seed)
    for row, artifact, outcome in zip(rows, artifacts, outcomes, strict=True):
        _judge(row, artifact, outcome)
    return keep(out, {"artifacts": rows, "holds": all(row["holds"] for row in rows)})


def _measure(trials: Sequence[Trial], store: Store, visits: int, seed: int) -> list[Outcome]:
    from cutonce.proof import new_campaign
    from cutonce.trials import run_trials

    campaign = new_campaign("verify")
    outcomes: list[Outcome] = []
    for attempt in range(1, ATTEMPTS + 1):
        with progress("measuring" if attempt == 1 else "measuring more: a budget is missed") as go:
            outcomes = run_trials(
                trials,
                store=store,
                campaign=campaign,
                visits=attempt * visits,
                least=attempt * visits,
                seed=seed + attempt,
                progress=go,
                spread_seconds=0.0 if attempt == 1 else SPREAD_SECONDS,
            )
        if all(outcome.met for outcome in outcomes):
            break
    return outcomes


def _check(
    artifact: Artifact, subject: Subject, data: str | Path | None, evaluation: str | Path | None
) -> dict[str, Any]:
    from cutonce import proof
    from cutonce.tasks import predict_with, task_again

    reports = artifact.reports
    task = task_again(
        reports.get("task"),
        artifact.directory,
        artifact.manifest["label_names"],
        subject.encoder.architecture.output,
        data=data,
        evaluation=evaluation,
    )
    report = proof.parity(subject, proof.reference(subject.encoder, task))
    row: dict[str, Any] = {
        "artifact": str(artifact.directory),
        "target": str(artifact.target),
        "hashes": True,
        "parity": report.to_json(),
        "metrics": None,
        "faults": [] if report.passed else [report.verdict],
    }
    promised = reports.get("metrics")
    if task is None:
        row["note"] = (
            "The task's data is not here, so its metric was not taken again; --data and --eval say "
            "where it is."
        )
    elif promised and task.source["digest"] != reports["task"]["digest"]:
        row["note"] = (
            f"{task.source['data']} does not hold what the metric was taken on, so it was not taken "
            "again."
        )
    elif task.labelled:
        row["metrics"] = proof.metrics(subject, task)
        # One that was exported unproved says nothing; then what it is held to is its own encoder.
        wanted = promised or task.evaluate(predict_with(subject.encoder), "report")
        whose = "the artifact says" if promised else "its encoder in torch has"
        for key, value in wanted.items():
            if key != "n" and abs(row["metrics"].get(key, value) - value) > METRIC_TOLERANCE:
                row["faults"].append(
                    f"{key} is {row['metrics'][key]:.4f} here, {whose} {value:.4f}."
                )
    return row


def _judge(row: dict[str, Any], artifact: Artifact, outcome: Outcome) -> None:
    measurement = outcome.measurement
    row["measured"] = measurement.statistics.to_json()
    dense = None if outcome.dense is None else outcome.dense.statistics
    row["dense"] = dense and dense.to_json()
    row["speedup"] = dense and dense.intrinsic / measurement.statistics.intrinsic
    row["warnings"] = list(measurement.warnings)
    row["limits"] = outcome.limits_json()
    row["budget_met"] = outcome.met if row["limits"] else None
    row["faults"] += [verdict.miss for verdict in outcome.verdicts if not verdict.met]
    promised = artifact.reports.get("latency") or {}
    if promised.get("fingerprint") not in (None, measurement.fingerprint):
        row["warnings"].append(
            "This machine is not the one that the artifact was measured on; its latency is another."
        )
    row["holds"] = not row["faults"]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directories", nargs="+", metavar="DIR", help="artifact directories")
    parser.add_argument("--data", help="where the task's data is now (default: where it was)")
    parser.add_argument("--eval", dest="evaluation", help="where the report split's file is now")
    add_measuring(parser)
    add_out(parser)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = verify(
        args.directories,
        data=args.data,
        evaluation=args.evaluation,
        visits=args.visits,
        store=args.store,
        out=args.out,
        seed=args.seed,
    )
    return result, 0 if result["holds"] else 3


def show(result: dict[str, Any]) -> None:
    rows = []
    for row in result["artifacts"]:
        numbers = row["measured"]
        rows.append(
            (
                row["artifact"],
                "whole",
                "passed" if row["parity"]["passed"] else "FAILED",
                quoted(row["metrics"]),
                " / ".join(f"{numbers[key]:.3g}" for key in ("intrinsic", "p50", "p90")),
                limits(row["limits"]) or "–",
                "holds" if row["holds"] else "does not hold",
            )
        )
    header = (
        "artifact",
        "files",
        "parity",
        "score",
        "intrinsic / p50 / p90 ms",
        "budget",
        "verdict",
    )
    show_table("Verification", header, rows)
    for row in result["artifacts"]:
        for sentence in (*row["faults"], *row["warnings"], *filter(None, [row.get("note")])):
            talk(f"{row['artifact']}: {sentence}")

"""Check artifacts where they are: hashes, parity, task metric, latency against the budget.

All artifacts are measured in one interleaved campaign. Exit code 3 when one does not hold, 1 when a
file of one was changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cutonce.console import milliseconds, progress, show_table, talk
from cutonce.options import add_measuring, require_at_least

ATTEMPTS = 3  # see verify
METRIC_TOLERANCE = 0.005  # accuracy may differ so much between the machines that ran it


def verify(
    directories: Sequence[str | Path],
    *,
    visits: int = 15,
    store: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """What was checked of every artifact, and whether all of it holds.

    Where a budget is missed, more visits are added to those taken, twice at most, and the statistics
    are over all of them: an intrinsic latency is what undisturbed visits show, and a slow episode of
    the machine can outlast one campaign.

    Raises:
        ArtifactError: a directory is no artifact, or a file of it was changed.
    """
    from cutonce import proof
    from deploy.artifact import Artifact
    from profiler.store import open_store

    require_at_least(1, visits=visits)
    artifacts = [Artifact.open(Path(directory)) for directory in directories]
    for artifact in artifacts:
        artifact.check_hashes()
    subjects = [proof.Subject(a.encoder(), a.target, a.exported, a.workload) for a in artifacts]
    rows = []
    for artifact, subject in zip(artifacts, subjects, strict=True):
        with progress(f"parity and metric of {artifact.directory.name}"):
            rows.append(_check(artifact, subject))
    campaign = proof.new_campaign("verify")
    with open_store(store) as opened:
        for attempt in range(1, ATTEMPTS + 1):
            with progress(
                "measuring" if attempt == 1 else "measuring more: a budget is missed"
            ) as go:
                measured = proof.latencies(
                    subjects,
                    store=opened,
                    campaign=campaign,
                    visits=attempt * visits,
                    seed=seed + attempt,
                    progress=go,
                )
            if all(map(_meets, artifacts, measured)):
                break
    for row, artifact, measurement in zip(rows, artifacts, measured, strict=True):
        _judge(row, artifact, measurement)
    return {"artifacts": rows, "holds": all(row["holds"] for row in rows)}


def _check(artifact: Any, subject: Any) -> dict[str, Any]:
    from cutonce import proof
    from cutonce.tasks import task_again

    task = task_again(artifact.reports.get("task"), artifact.directory)
    report = proof.parity(subject, task)
    row: dict[str, Any] = {
        "artifact": str(artifact.directory),
        "target": str(artifact.target),
        "hashes": True,
        "parity": report.to_json(),
        "metrics": None,
        "faults": [] if report.passed else [report.verdict],
    }
    promised = artifact.reports.get("metrics")
    if task is None:
        row["note"] = "The task's data is not here, so its metric was not taken again."
    elif promised:
        row["metrics"] = proof.metrics(subject, task)
        for key, value in promised.items():
            if key != "n" and abs(row["metrics"].get(key, value) - value) > METRIC_TOLERANCE:
                row["faults"].append(
                    f"{key} is {row['metrics'][key]:.4f} here, the artifact says {value:.4f}."
                )
    return row


def _bounded(promised: Mapping[str, Any], measurement: Any) -> tuple[str, float]:
    """What the artifact's budget bounds, and its milliseconds here."""
    bound = str(promised.get("bound", "intrinsic"))
    statistics = measurement.statistics
    return bound, statistics.p90 if bound == "p90" else statistics.p20


def _meets(artifact: Any, measurement: Any) -> bool:
    promised = artifact.reports.get("latency") or {}
    limit = promised.get("limit")
    return limit is None or _bounded(promised, measurement)[1] <= limit


def _judge(row: dict[str, Any], artifact: Any, measurement: Any) -> None:
    statistics = measurement.statistics
    row["measured"] = statistics.to_json()
    row["warnings"] = list(measurement.warnings)
    promised = artifact.reports.get("latency") or {}
    limit = promised.get("limit")
    row["limit"] = limit
    if limit is not None:
        bound, value = _bounded(promised, measurement)
        row["within"] = measurement.within(limit)
        row["budget_met"] = value <= limit
        if not row["budget_met"]:
            row["faults"].append(
                f"The {bound} latency is {value:.3g} ms, {value / limit - 1:.1%} over the budget of "
                f"{limit:.3g} ms."
            )
    if promised.get("fingerprint") not in (None, measurement.fingerprint):
        row["warnings"].append(
            "This machine is not the one that the artifact was measured on; its latency is another."
        )
    row["holds"] = not row["faults"]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directories", nargs="+", metavar="DIR", help="artifact directories")
    add_measuring(parser)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = verify(args.directories, visits=args.visits, store=args.store, seed=args.seed)
    return result, 0 if result["holds"] else 3


def show(result: dict[str, Any]) -> None:
    rows = []
    for row in result["artifacts"]:
        numbers = row["measured"]
        limit = "–" if row["limit"] is None else milliseconds(row["limit"])
        accuracy = (row["metrics"] or {}).get("accuracy")
        rows.append(
            (
                row["artifact"],
                "whole",
                "passed" if row["parity"]["passed"] else "FAILED",
                "–" if accuracy is None else f"{accuracy:.1%}",
                " / ".join(f"{numbers[key]:.3g}" for key in ("p20", "p50", "p90")),
                limit,
                "holds" if row["holds"] else "does not hold",
            )
        )
    header = ("artifact", "files", "parity", "accuracy", "p20 / p50 / p90 ms", "budget", "verdict")
    show_table("Verification", header, rows)
    for row in result["artifacts"]:
        for sentence in (*row["faults"], *row["warnings"], *filter(None, [row.get("note")])):
            talk(f"{row['artifact']}: {sentence}")

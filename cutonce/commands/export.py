"""Export a sub-network as an artifact that carries its own proof.

The exported file is reloaded in a fresh process and must agree with the encoder (the parity gate), is
scored on the task's report split where the task's data is here, and measured. Without --target a
sub-network of `cutonce search` is exported for the target that it was cut for.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cutonce.console import milliseconds, progress, talk
from cutonce.console import show as say
from cutonce.options import add_measuring, add_workload, require_at_least
from devices.errors import UsageError


def export(
    subnet: str | Path,
    *,
    target: str | None = None,
    batch: int | None = None,
    length: int | None = None,
    visits: int = 15,
    store: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Write the artifact; returns where, and its reports.

    Args:
        subnet: a sub-network of a search, or any model that cutonce loads.
        target: ``DEVICE/RUNTIME/PRECISION[@THREADS]``; default: what the sub-network was cut for.
        batch, length: the workload to measure; default: what it was cut for, else 1 × 128.
        out: the artifact; default: ``RUN/artifacts/NAME`` for ``RUN/subnets/NAME``.

    Raises:
        ParityFailed: the exported file does not answer as the encoder does; nothing is written.
    """
    from cutonce import proof
    from cutonce.subnets import read_record
    from cutonce.tasks import task_again
    from deploy.artifact import write_artifact
    from deploy.exporters import export_variant
    from deploy.workload import Workload
    from devices.target import Target
    from elastic.families import load
    from profiler.store import open_store

    require_at_least(1, visits=visits)
    model = load(str(subnet))
    record = read_record(Path(subnet)) or {}
    if target is None and not record:
        raise UsageError(f"{subnet} was not cut for a target; name one with --target.")
    chosen = Target.parse(target or record["target"])
    known = Workload.from_json(record["workload"]) if record else Workload()
    workload = Workload(
        known.batch if batch is None else batch, known.length if length is None else length
    )
    same = record.get("target") == str(chosen) and workload == known
    directory = out or _place(Path(subnet), chosen if target else None)
    task = task_again(record.get("task"), model.tokenizer) if model.tokenizer else None
    with TemporaryDirectory() as place:
        with progress(f"exporting {directory.name}"):
            calibration = task.calibration() if task and chosen.precision.startswith("int8") else ()
            exported = export_variant(
                model.encoder, chosen.runtime, chosen.precision, Path(place), calibration
            )
        subject = proof.Subject(model.encoder, chosen, exported, workload)
        with progress("parity in a fresh process"):
            parity = proof.parity(subject, task)
            parity.require()
        metrics = proof.metrics(subject, task) if task and task.source["label"] else None
        with open_store(store) as opened, progress("measuring") as advance:
            [measured] = proof.latencies(
                [subject],
                store=opened,
                campaign=proof.new_campaign("export"),
                visits=visits,
                seed=seed,
                progress=advance,
            )
        latency = {
            **measured.statistics.to_json(),
            "target": str(chosen),
            "fingerprint": measured.fingerprint,
            "precision": measured.precision,
            "limit": record["limit"] if same else None,
            "bound": record["bound"] if same else "intrinsic",
            "warnings": list(measured.warnings),
        }
        reports = {"parity": parity.to_json(), "latency": latency, "metrics": metrics}
        if task:
            reports["task"] = task.to_json()
        artifact = write_artifact(
            directory,
            encoder=model.encoder,
            target=chosen,
            exported=exported,
            tokenizer=model.tokenizer,
            workload=workload,
            reports={name: report for name, report in reports.items() if report is not None},
            source=record.get("source", model.source),
            max_length=task.max_length if task else model.encoder.architecture.positions,
        )
    return {"artifact": str(artifact.directory), **reports}


def _place(subnet: Path, target: Any) -> Path:
    """Beside the run's sub-networks where there is a run; a target of one's own joins the name."""
    name = subnet.name if target is None else f"{subnet.name}-{target.slug}"
    if subnet.parent.name == "subnets":
        return subnet.parent.parent / "artifacts" / name
    return Path(f"{name}-artifact")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subnet", metavar="SUBNET", help="a sub-network of a search, or a model")
    parser.add_argument("--target", help="DEVICE/RUNTIME/PRECISION[@THREADS]")
    add_workload(parser)
    parser.set_defaults(batch=None, length=None)
    add_measuring(parser)
    parser.add_argument("--out", type=Path, help="the artifact's directory")


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = export(
        args.subnet,
        target=args.target,
        batch=args.batch,
        length=args.length,
        visits=args.visits,
        store=args.store,
        out=args.out,
        seed=args.seed,
    )
    return result, 3 if over_budget(result) else 0


def over_budget(result: dict[str, Any]) -> bool:
    """Whether what was just measured misses the budget that the sub-network was cut for."""
    latency = result["latency"]
    value = latency["p90" if latency["bound"] == "p90" else "p20"]
    return latency["limit"] is not None and value > latency["limit"]


def show(result: dict[str, Any]) -> None:
    latency, metrics = result["latency"], result["metrics"]
    accuracy = f", accuracy {metrics['accuracy']:.1%}" if metrics else ""
    limit = f" (budget {milliseconds(latency['limit'])})" if latency["limit"] else ""
    say(f"{result['artifact']}: parity passed, p20 {milliseconds(latency['p20'])}{limit}{accuracy}")
    say(f'Try it: python {result["artifact"]}/run.py "some text"')
    if over_budget(result):
        talk(f"Missed: the budget of {milliseconds(latency['limit'])} is not met just now.")
    for warning in latency["warnings"]:
        talk(f"Warning: {warning}")

"""Export a sub-network as an artifact that carries its own proof.

The exported file is reloaded in a fresh process and must agree with the encoder (the parity gate), is
scored on the task's report split where the task's data is here, and measured. Without --target a
sub-network of `cutonce search` is exported for the target that it was cut for; without --data the task
is the one that it was cut on. With --target DEVICE/auto every runtime and precision there is tried: the
fastest of those that are correct is exported, and the artifact tells how the others did. What cannot run
here is written with --unproved, for `cutonce verify` to prove where it can.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cutonce.console import limits, milliseconds, progress, talk
from cutonce.console import show as say
from cutonce.options import (
    add_measuring,
    add_optional_task,
    add_workload,
    require_at_least,
    task_keywords,
)
from cutonce.scores import ALLOWED_LOSS, name_of, quoted
from devices.errors import UsageError

if TYPE_CHECKING:
    from cutonce.trials import Trial
    from deploy.task import Task
    from devices.runtimes import Arrays
    from devices.target import Target
    from elastic.families import LoadedModel
    from profiler.store import Store


def export(
    subnet: str | Path,
    *,
    target: str | None = None,
    data: str | Path | None = None,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    evaluation: str | Path | None = None,
    task: str | None = None,
    max_length: int | None = None,
    batch: int | None = None,
    length: int | None = None,
    visits: int = 30,
    store: str | Path | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    allowed_loss: float = ALLOWED_LOSS,
    unproved: bool = False,
) -> dict[str, Any]:
    """Write the artifact; returns where, and its reports.

    Args:
        subnet: a sub-network of a search, or any model that cutonce loads.
        target: ``DEVICE/RUNTIME/PRECISION[@THREADS[xSTREAMS]]``, or ``DEVICE/auto[@THREADS]`` for the
            fastest that is correct; default: what the sub-network was cut for.
        data, text, text_pair, label, evaluation, task, max_length: the task, for its metric and for
            what an int8 export is calibrated on; default: what the sub-network remembers.
        batch, length: the workload to measure; default: what it was cut for, else 1 × 128.
        out: the artifact; default: ``RUN/artifacts/NAME`` for ``RUN/subnets/NAME``.
        allowed_loss: of the score on the search split, that a variant of ``auto`` may lose.
        unproved: run nothing; the artifact says what it is to prove, and nothing of what it did.

    Raises:
        ParityFailed: the exported file does not answer as the encoder does; nothing is written.
        GateNotMet: no variant of ``auto`` is correct.
    """
    from cutonce.proof import Subject
    from cutonce.subnets import read_record
    from cutonce.trials import Promise, Trial, dense_of
    from cutonce.variants import Contest, targets_of
    from deploy.artifact import check_place, write_artifact
    from deploy.calibration import require_enough
    from deploy.exporters import export_variant, takes_calibration
    from deploy.workload import Workload
    from devices.target import slug
    from elastic.families import load
    from profiler.store import open_store

    require_at_least(1, visits=visits)
    require_at_least(0, allowed_loss=allowed_loss)
    record = read_record(Path(subnet)) or {}
    if target is None and not record:
        wrong = "was not cut for a target" if Path(subnet).exists() else "is no directory here"
        raise UsageError(
            f"{subnet} {wrong}; give a sub-network of a search, as run/subnets/NAME, or name a --target."
        )
    targets = targets_of(target or record["target"])
    if unproved and len(targets) > 1:
        raise UsageError(
            f"{target} chooses by measuring, which --unproved does not; name a target."
        )
    known_as = targets[0].slug if len(targets) == 1 else slug(str(target))
    directory = Path(out or _place(Path(subnet), known_as if target else None))
    check_place(directory)
    model = load(str(subnet))
    encoder = model.encoder
    known = Workload.from_json(record["workload"]) if record else Workload()
    workload = Workload(
        known.batch if batch is None else batch, known.length if length is None else length
    )
    workload.require_fits(encoder.architecture)
    learned = _task(
        model,
        record,
        kind=task,
        data=data,
        text=text,
        text_pair=text_pair,
        label=label,
        evaluation=evaluation,
        max_length=max_length,
    )
    variants = None
    with TemporaryDirectory() as root, open_store(store) as opened:
        if len(targets) > 1:
            contest = Contest(encoder, targets, workload)
            contest.hold(
                Path(root),
                task=learned,
                calibration=_calibration(learned, targets),
                allowed_loss=allowed_loss,
                store=opened,
                visits=visits,
                seed=seed,
            )
            targets, variants = [contest.fastest()], contest.to_json()
        [chosen] = targets
        calibration = _calibration(learned, targets)
        if takes_calibration(chosen.runtime, chosen.precision):
            require_enough(calibration, str(chosen))
        with progress(f"exporting {directory.name}"):
            exported = export_variant(
                encoder, chosen.runtime, chosen.precision, Path(root), calibration
            )
        subject = Subject(encoder, chosen, exported, workload)
        promises = Promise.read(record, chosen) if workload == known else ()
        judged = promises and not unproved
        beside = dense_of(_run_of(Path(subnet)), chosen, workload) if judged else None
        trial = Trial(subject, promises, beside)
        reports = _unproved(trial) if unproved else _prove(trial, learned, opened, visits, seed)
        reports |= _origin(learned, calibration) | {"variants": variants}
        artifact = write_artifact(
            directory,
            encoder=encoder,
            target=chosen,
            exported=exported,
            tokenizer=model.tokenizer,
            workload=workload,
            reports={name: report for name, report in reports.items() if report is not None},
            source=record.get("source", model.source),
            max_length=learned.max_length if learned else encoder.architecture.positions,
        )
    return {"artifact": str(artifact.directory), "target": str(chosen), **reports}


def _calibration(task: Task | None, targets: Sequence[Target]) -> Sequence[Arrays]:
    """What scales are taken from, where a target wants some and the task's texts are here."""
    from deploy.exporters import takes_calibration

    wanted = any(takes_calibration(target.runtime, target.precision) for target in targets)
    return task.calibration() if task is not None and wanted else ()


def _task(model: LoadedModel, record: dict[str, Any], **given: Any) -> Task | None:
    """The task that the sub-network remembers, with what is given instead, where it is here."""
    from cutonce.tasks import task_again

    if model.tokenizer is None:
        return None
    task = task_again(
        record.get("task"),
        model.tokenizer,
        model.encoder.label_names,
        model.encoder.architecture.output,
        **given,
    )
    if task is not None:
        task.check_fits(model.encoder.architecture)
    return task


def _prove(
    trial: Trial,
    task: Task | None,
    store: Store,
    visits: int,
    seed: int,
) -> dict[str, Any]:
    """What it proves here; raises ParityFailed before anything is measured."""
    from cutonce import proof
    from cutonce.trials import run_trials

    with progress("parity in a fresh process"):
        parity = proof.parity(trial.subject, proof.reference(trial.subject.encoder, task))
        parity.require()
    metrics = proof.metrics(trial.subject, task) if task and task.labelled else None
    with progress("measuring") as advance:
        [outcome] = run_trials(
            [trial],
            store=store,
            campaign=proof.new_campaign("export"),
            visits=visits,
            seed=seed,
            progress=advance,
        )
    return {"parity": parity.to_json(), "latency": outcome.to_json(), "metrics": metrics}


def _unproved(trial: Trial) -> dict[str, Any]:
    """What it is to prove elsewhere."""
    promises = [promise.to_json(trial.subject.target) for promise in trial.promises]
    return {"parity": None, "latency": None, "metrics": None, "promise": {"limits": promises}}


def _origin(task: Task | None, calibration: Sequence[Arrays]) -> dict[str, Any]:
    """What it was made from."""
    from deploy.calibration import calibration_hash

    calibrated = {"examples": len(calibration), "hash": calibration_hash(calibration)}
    return {
        "task": task.to_json() if task else None,
        "calibration": calibrated if calibration else None,
    }


def _run_of(subnet: Path) -> Path:
    """The run that ``RUN/subnets/NAME`` belongs to."""
    return subnet.resolve().parent.parent


def _place(subnet: Path, target: str | None) -> Path:
    """Beside the run's sub-networks where there is a run; a target of one's own joins the name."""
    name = subnet.name if target is None else f"{subnet.name}-{target}"
    if subnet.parent.name == "subnets":
        return subnet.parent.parent / "artifacts" / name
    return Path(f"{name}-artifact")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subnet", metavar="SUBNET", help="a sub-network of a search, or a model")
    parser.add_argument(
        "--target", help="DEVICE/RUNTIME/PRECISION[@THREADS[xSTREAMS]] or DEVICE/auto"
    )
    parser.add_argument(
        "--allowed-loss",
        type=float,
        default=ALLOWED_LOSS,
        help=f"of the score, that a variant of DEVICE/auto may lose (default {ALLOWED_LOSS})",
    )
    parser.add_argument(
        "--unproved", action="store_true", help="write what cannot run here; verify proves it there"
    )
    add_workload(parser)
    parser.set_defaults(batch=None, length=None)
    add_optional_task(parser)
    add_measuring(parser)
    parser.add_argument("--out", type=Path, help="the artifact's directory")


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = export(
        args.subnet,
        target=args.target,
        **task_keywords(args),
        batch=args.batch,
        length=args.length,
        visits=args.visits,
        store=args.store,
        out=args.out,
        seed=args.seed,
        allowed_loss=args.allowed_loss,
        unproved=args.unproved,
    )
    return result, 0 if args.unproved or result["latency"]["met"] else 3


def show(result: dict[str, Any]) -> None:
    latency, metrics = result["latency"], result["metrics"]
    if latency is None:
        say(f"{result['artifact']}: nothing was run; `cutonce verify` proves it where it runs.")
        return
    score = f", {name_of(metrics)} {quoted(metrics)}" if metrics else ""
    budget = f" (budget {limits(latency['limits'])})" if latency["limits"] else ""
    taken = milliseconds(latency["intrinsic"])
    if result["variants"]:
        from cutonce.variants import show_variants

        show_variants(result["variants"], result["target"])
    say(f"{result['artifact']}: parity passed, {taken} intrinsic{budget}{score}")
    say(f'Try it: python {result["artifact"]}/run.py "some text"')
    if not latency["met"]:
        talk(f"Missed: the budget of {limits(latency['limits'])} is not met just now.")
    for warning in latency["warnings"]:
        talk(f"Warning: {warning}")

"""Cut a fine-tuned encoder to one or more latency budgets, in one run.

A budget is TARGET=4ms, or TARGET=0.7x for a fraction of the dense model's own latency; it bounds the
intrinsic latency, or with :p90 the contended 90th percentile. Behind commas it has further limits for
the same network: 20MB of file, 200MB:memory, TARGET=3ms on another target. DEVICE/auto is the fastest
runtime and precision there that is correct for the dense model. Targets without a profile are profiled
first. Every chosen network is exported and measured before it is called fitting.
Of a model whose sub-networks were trained by --recipe cutonce, those of its teacher are looked at, too:
labels decide where they tell which are better, else what is nearer to the teacher.
Interrupted, the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from cutonce.console import interval, limits, milliseconds, show_table, talk
from cutonce.options import add_measuring, add_task, add_workload, require_at_least, task_keywords
from cutonce.scores import name_of, quoted
from deploy.workload import Workload


def search(
    model: str | Path,
    *,
    budgets: Sequence[str],
    data: str | Path,
    text: str,
    text_pair: str | None = None,
    label: str | None = None,
    evaluation: str | Path | None = None,
    task: str | None = None,
    max_length: int = 128,
    batch: int = 1,
    length: int = 128,
    rounds: int = 4,
    hidden: Sequence[int] = (),
    rank: Sequence[int] = (),
    epochs: float = 2.0,
    post_training: bool = False,
    visits: int = 30,
    fleet: str | None = None,
    store: str | Path | None = None,
    out: str | Path = Path("cutonce-run"),
    seed: int = 0,
) -> dict[str, Any]:
    """One sub-network per budget, with the evidence; written to ``out``.

    Args:
        model: directory or hub name of a checkpoint, or of a cutonce encoder.
        budgets: ``TARGET=4ms[:p90]`` or ``TARGET=0.7x[:p90]``, with further limits behind commas:
            ``20MB``, ``200MB:memory``, ``OTHER_TARGET=3ms``. ``DEVICE/auto[@THREADS]`` stands for the
            target there on which the dense model is fastest, of those where it is correct.
        data, text, text_pair, label, evaluation, task, max_length: the task; without ``label`` only
            the agreement with the dense model is reported.
        batch, length: the workload that the budgets are about.
        rounds: decodings per budget at most.
        hidden, rank: hidden sizes, and ranks of the table of tokens, that are tried beside the dense
            ones, every one with every other; each takes an order, errors and a search of its own.
        epochs: of distillation for each chosen network, after its weights were refitted in closed form.
        post_training: no training at all: the refitted weights are what is left.
        visits: per configuration and measurement.
        fleet: the address of a scheduler of dask.distributed, whose workers evaluate sub-networks: those
            that offer no device.

    Raises:
        Unreachable: the fleet has no such worker, or is not there.
        UsageError, ModelError, DataError: what was given cannot be used.
        BudgetUnreachable: no sub-network fits any budget; where some are reachable the others are
            listed under ``unreachable``.
    """
    from cutonce.automatic import open_targets, parse_budgets, settle
    from cutonce.runs import Run
    from cutonce.searching import search_flow
    from cutonce.setting import Setting
    from cutonce.supernets import trained_supernet
    from cutonce.tasks import load_task
    from cutonce.variants import targets_of
    from deploy.export_pool import ExportPool
    from devices.errors import BudgetUnreachable
    from elastic.families import load
    from elastic.trunk import Trunk
    from profiler.store import open_store

    require_at_least(1, rounds=rounds, visits=visits)
    require_at_least(0, epochs=epochs)
    if post_training:
        epochs = 0.0
    budgets = list(dict.fromkeys(budgets))
    left_open = open_targets(budgets)
    parsed = parse_budgets(budgets, {name: str(targets_of(name)[0]) for name in left_open})
    request: dict[str, Any] = {
        "model": str(model),
        "budgets": budgets,
        "workload": [batch, length],
        "rounds": rounds,
        "epochs": epochs,
        "visits": visits,
        "seed": seed,
    }
    loaded = load(str(model))
    known = load_task(
        loaded,
        kind=task,
        data=data,
        text=text,
        text_pair=text_pair,
        label=label,
        evaluation=evaluation,
        max_length=max_length,
        seed=seed,
    )
    # By content, not by path alone: to go on with another model's errors would mix two searches.
    request |= {"weights": loaded.encoder.digest, "task": known.to_json()}
    trunks = tuple(Trunk(*sizes) for sizes in product((None, *hidden), (None, *rank)))
    for trunk in trunks:
        trunk.of(loaded.encoder.architecture)  # or say at once that it cannot be
    trained = trained_supernet(loaded, trunks)  # the same
    if trained is not None and trained.teacher is not None:
        loaded = replace(loaded, encoder=trained.teacher)
        request["teacher"] = loaded.encoder.digest
    request |= {name: list(some) for name, some in (("hidden", hidden), ("rank", rank)) if some}
    run = Run(Path(out), request)
    if run.result is not None:
        talk(f"{out} holds this search already, finished.")
        return run.result
    with open_store(store) as opened, ExportPool() as pool:
        setting = Setting(
            model=loaded,
            task=known,
            workload=Workload(batch, length),
            budgets=parsed,
            trained=trained,
            trunks=trunks,
            store=opened,
            pool=pool,
            run=run,
            visits=visits,
            rounds=rounds,
            epochs=epochs,
            seed=seed,
            fleet=fleet,
        )
        settled = settle(left_open, setting)
        targets = {name: some["target"] for name, some in settled.items()}
        setting = replace(setting, budgets=parse_budgets(budgets, targets))
        try:
            run.finish(search_flow(setting) | {"automatic": settled})
        except BudgetUnreachable:
            run.discard()  # the measurements are in the store
            raise
    return run.result or {}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory or hub name")
    parser.add_argument(
        "--budget",
        dest="budgets",
        action="append",
        required=True,
        metavar="TARGET=4ms",
        help="a latency budget; may be given several times",
    )
    add_task(parser, required=True)
    add_workload(parser)
    add_measuring(parser)
    parser.add_argument(
        "--rounds", type=int, default=4, help="decodings per budget at most (default 4)"
    )
    for name, what in (("hidden", "hidden sizes"), ("rank", "ranks of the table of tokens")):
        parser.add_argument(
            f"--{name}",
            type=int,
            nargs="+",
            default=(),
            metavar="N",
            help=f"{what} to try beside the dense one",
        )
    training = parser.add_mutually_exclusive_group()
    training.add_argument("--epochs", type=float, default=2.0, help="of distillation (default 2)")
    training.add_argument(
        "--post-training", action="store_true", help="no training: refit in closed form alone"
    )
    parser.add_argument(
        "--fleet",
        metavar="SCHEDULER",
        help="of dask.distributed, as tcp://HOST:8786, whose workers evaluate the networks",
    )
    parser.add_argument("--out", type=Path, default=Path("cutonce-run"), help="run directory")


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = search(
        args.model,
        budgets=args.budgets,
        **task_keywords(args),
        batch=args.batch,
        length=args.length,
        rounds=args.rounds,
        hidden=args.hidden,
        rank=args.rank,
        epochs=args.epochs,
        post_training=args.post_training,
        visits=args.visits,
        fleet=args.fleet,
        store=args.store,
        out=args.out,
        seed=args.seed,
    )
    missed = any(entry["status"] == "missed" for entry in result["budgets"])
    return result, 3 if missed or result["unreachable"] else 0


def show_budgets(result: dict[str, Any]) -> None:
    """The table of a search: one row per budget."""
    dense = quoted(result["dense"]["metrics"]["report"])
    rows = []
    for entry in result["budgets"]:
        measured, predicted = entry["measured"], entry["predicted"]
        rows.append(
            (
                allowed(entry),
                f"{milliseconds(predicted['ms'])} {interval(predicted['lower'], predicted['upper'])}",
                " / ".join(f"{measured[key]:.3g}" for key in ("intrinsic", "p50", "p90")),
                f"{entry['within']:.0%}",
                f"{entry['speedup']:.2f}×",
                f"{dense} → {quoted(entry['metrics']['report'])}",
                f"{entry['size_bytes'] / 2**20:.1f} MB",
                entry["status"],
            )
        )
    header = (
        "budget",
        "predicted",
        "intrinsic / p50 / p90 ms",
        "within",
        "speed-up",
        name_of(result["dense"]["metrics"]["report"]),
        "size",
        "status",
    )
    show_table("Budgets", header, rows)


def allowed(entry: dict[str, Any]) -> str:
    """The limits of a budget: TARGET ≤ 4 ms, 20 MB."""
    first = {
        "target": entry["target"],
        "limit": entry["limit"],
        "unit": "ms",
        "bound": entry["bound"],
    }
    by_target: dict[str, list[dict[str, Any]]] = {}
    for some in (first, *entry.get("further", ())):
        by_target.setdefault(some["target"], []).append(some)
    return ", ".join(f"{target} ≤ {limits(some)}" for target, some in by_target.items())


def amount(constraint: dict[str, Any]) -> str:
    """What a network takes of a further constraint."""
    return f"{constraint['measured']:.3g} {constraint['unit']}"


def certified(*, loss: float, bound: float, probability: float) -> str:
    """What a certificate says; a bound of 0 says nothing."""
    found = f"diverges by {loss:.3g} nats from the dense model; "
    if bound <= 0:
        return found + "too little was evaluated to tell what a longer search could gain."
    return found + (
        f"that a network predicted to be as fast stays below {bound:.3g} has a chance of "
        f"{1 - probability:.0%}, as far as those evaluated tell."
    )


def show(result: dict[str, Any]) -> None:
    for name, settled in result.get("automatic", {}).items():
        left = [row for row in settled["variants"] if not row["out"]]
        talk(f"{name} is {settled['target']}, the fastest of {len(left)} that are correct.")
    show_budgets(result)
    if counted := result.get("search"):
        failed = (
            f", {counted['failed']} of which failed and were left out" if counted["failed"] else ""
        )
        talk(f"Networks evaluated for all budgets together: {counted['evaluations']}{failed}.")
    for entry in result["budgets"]:
        if certificate := entry.get("certificate"):
            talk(f"{entry['budget']}: {certified(**certificate)}")
    for entry in result["budgets"]:
        for some in entry.get("further", ()):
            talk(f"{some['constraint']}: {amount(some)} of {some['limit']:.3g} {some['unit']}.")
    for warning in result["warnings"]:
        talk(f"Warning: {warning}")
    for entry in result["budgets"]:
        if entry["status"] == "missed":
            nearest = milliseconds(entry["measured"][entry["bound"]])
            also = "".join(f", {amount(some)}" for some in entry.get("further", ()))
            talk(f"Missed: {entry['budget']}: the nearest network takes {nearest}{also}.")
    for budget in result["unreachable"]:
        talk(f"Unreachable: {budget}; its warning says what can be reached.")

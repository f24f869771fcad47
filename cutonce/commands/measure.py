"""Measure how fast a model is on one or more targets.

The model is exported as it would be shipped and measured in visits spread over random-order rounds.
The intrinsic latency is what the model costs when nothing disturbs it; p50 and p90 are over all runs,
disturbed or not.
"""

from __future__ import annotations

import argparse
import math
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cutonce.console import interval, progress, show_table, talk
from cutonce.options import add_measuring, add_out, add_workload, keep, require_at_least
from deploy.workload import Workload
from devices.errors import NotTrustworthy

SPREAD_SECONDS = 45.0  # a small model would else be measured within one moment of the machine


def measure(
    model: str | Path,
    targets: Sequence[str],
    *,
    batch: int = 1,
    length: int = 128,
    visits: int = 30,
    minutes: float = math.inf,
    strict: bool = False,
    store: str | Path | None = None,
    out: str | Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Statistics of ``model`` on every target, with the raw visits and warnings.

    Args:
        model: directory or hub name of a checkpoint, or of a cutonce encoder.
        targets: ``DEVICE/RUNTIME/PRECISION[@THREADS[xSTREAMS]]``.
        minutes: of measuring, after which the visits taken so far have to do.
        out: write the result there too, as JSON.

    Raises:
        NotTrustworthy: ``strict``, and a measurement carries a warning or is missing.
    """
    from cutonce.series import say_new_series
    from deploy.export_pool import ExportPool, ExportRequest
    from devices.device import open_device
    from devices.target import Target
    from elastic.families import load
    from profiler.campaign import APART, STARTS, run_campaign
    from profiler.job import Job
    from profiler.store import open_store

    require_at_least(1, visits=visits)
    require_at_least(0, minutes=minutes)
    parsed = list(dict.fromkeys(Target.parse(text) for text in targets))
    encoder = load(str(model)).encoder
    with open_store(store) as opened, TemporaryDirectory() as place:
        say_new_series(opened, parsed)
        source = Path(place) / "encoder"
        encoder.save_pretrained(source)
        requests = [ExportRequest(source, t.runtime, t.precision, Path(place)) for t in parsed]
        with ExportPool() as pool, progress("exporting") as advance:
            exported = pool.export(requests, progress=advance)
        jobs = [
            Job(target, encoder.architecture, Workload(batch, length), files.path)
            for target, files in zip(parsed, exported, strict=True)
        ]
        limit = time.monotonic() + 60 * minutes
        with progress("measuring") as advance:
            measured = run_campaign(
                jobs,
                store=opened,
                campaign=f"measure/{secrets.token_hex(6)}",
                seed=seed,
                visits=visits,
                starts=STARTS,
                spread_seconds=SPREAD_SECONDS,
                apart=APART,
                stop=lambda: time.monotonic() > limit,
                progress=advance,
            )
    machines = {open_device(target.device).fingerprint() for target in parsed}
    result = keep(
        out,
        {
            "model": str(model),
            "measurements": [m.to_json() for m in measured],
            "machines": {machine.id: machine.to_json() for machine in machines},
        },
    )
    missing = [str(target) for target in parsed if target not in {m.target for m in measured}]
    late = [f"{t}: not measured before the time was up; give more --minutes." for t in missing]
    for sentence in late:
        talk(f"Warning: {sentence}")
    doubts = [f"{m.target}: {warning}" for m in measured for warning in m.warnings] + late
    if strict and doubts:
        raise NotTrustworthy(f"Not trustworthy: {' '.join(doubts)}")
    return result


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory or hub name")
    parser.add_argument(
        "--target",
        dest="targets",
        action="append",
        required=True,
        metavar="TARGET",
        help="DEVICE/RUNTIME/PRECISION[@THREADS[xSTREAMS]]; may be given several times",
    )
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="stop then, with the visits taken so far"
    )
    parser.add_argument("--strict", action="store_true", help="exit 3 on any warning")
    add_workload(parser)
    add_measuring(parser)
    add_out(parser)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = measure(
        args.model,
        args.targets,
        batch=args.batch,
        length=args.length,
        visits=args.visits,
        minutes=args.minutes,
        strict=args.strict,
        store=args.store,
        out=args.out,
        seed=args.seed,
    )
    return result, 0


def show(result: dict[str, Any]) -> None:
    rows = []
    for entry in result["measurements"]:
        numbers = entry["statistics"]
        rows.append(
            (
                entry["target"],
                f"{numbers['intrinsic']:.3g} {interval(*numbers['interval'])}",
                f"{numbers['p50']:.3g}",
                f"{numbers['p90']:.3g}",
                str(numbers["visits"]),
                entry["precision"],
            )
        )
    header = ("target", "intrinsic ms [interval]", "p50 ms", "p90 ms", "visits", "computes in")
    show_table(f"{result['model']}", header, rows)
    for entry in result["measurements"]:
        for warning in entry["warnings"]:
            talk(f"Warning: {entry['target']}: {warning}")

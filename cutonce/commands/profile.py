"""Profile targets: measure chosen encoders in one interleaved campaign and fit a predictor.

The encoders are chosen D-optimally from sub-networks of MODEL (--around), or from encoders of many
shapes. Interrupted, the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cutonce.console import interval, milliseconds, show_table, talk
from cutonce.console import show as say
from cutonce.options import add_measuring, add_out, add_workloads, keep
from deploy.workload import Workload
from devices.target import Target


def profile(
    targets: Sequence[str],
    *,
    around: str | None = None,
    configurations: int = 14,
    at_most: int = 0,
    batch: Sequence[int] = (1,),
    length: Sequence[int] = (128,),
    visits: int = 15,
    store: str | Path | None = None,
    out: str | Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Profile every target; returns for each its file, error and leave-one-out table.

    Args:
        targets: ``DEVICE/RUNTIME/PRECISION[@THREADS[xSTREAMS]]``.
        around: model directory, architecture file or shape whose sub-networks to measure.
        configurations: encoders measured per target; 12 to 16 give about 2 % error, 5 to 8 do beside a
            profile of a like target.
        at_most: with more than these, go on where the prediction is least sure until leave-one-out error
            and interval are small, or so many are measured.
        visits: to each encoder; the fit evens out what single encoders are off by.
        batch, length: the workloads, in sequences and tokens: every batch with every length. What lies
            between them is predicted too.
        out: write the result there too, as JSON.

    Raises:
        UsageError, DeviceError, StoreError, MissingDependency.
    """
    from cutonce.configurations import read_configuration
    from cutonce.profiles import profile_path
    from cutonce.profiling import make_profiles
    from deploy.export_pool import ExportPool
    from predictors.tiles import find_tile
    from profiler.store import open_store

    parsed = list(dict.fromkeys(Target.parse(text) for text in targets))
    with open_store(store) as opened, ExportPool() as pool:
        profiles = make_profiles(
            parsed,
            around=read_configuration(around) if around else None,
            workloads=[Workload(b, n) for b in batch for n in length],
            configurations=configurations,
            at_most=at_most,
            visits=visits,
            store=opened,
            pool=pool,
            seed=seed,
            thorough=True,
        )
        result = {
            str(made.target): {
                "file": str(profile_path(opened, made.target, made.fingerprint)),
                "error": made.predictor.error,
                "measurements": [m.to_json() for m in made.measurements],
                "loo": [row.to_json() for row in made.predictor.loo],
                "others": {name: other.error for name, other in made.others.items()},
                "tile": find_tile(made.probes),
                "probes": [probe.to_json() for probe in made.probes],
                "operators": list(made.operators),
            }
            for made in profiles
        }
    return keep(out, result)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "targets", nargs="+", metavar="TARGET", help="DEVICE/RUNTIME/PRECISION[@THREADS[xSTREAMS]]"
    )
    parser.add_argument("--around", metavar="MODEL", help="measure sub-networks of this model")
    parser.add_argument(
        "--configurations", type=int, default=14, help="encoders to measure (default 14)"
    )
    parser.add_argument(
        "--at-most",
        type=int,
        default=0,
        metavar="N",
        help="go on until the prediction is sure, or N encoders are measured",
    )
    add_workloads(parser)
    add_measuring(parser, visits=15)
    add_out(parser)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = profile(
        args.targets,
        around=args.around,
        configurations=args.configurations,
        at_most=args.at_most,
        batch=args.batch,
        length=args.length,
        visits=args.visits,
        store=args.store,
        out=args.out,
        seed=args.seed,
    )
    return result, 0


def show(result: dict[str, Any]) -> None:
    for target, made in result.items():
        rows = [
            (
                row["label"],
                milliseconds(row["measured"]),
                milliseconds(row["predicted"]),
                f"{row['predicted'] / row['measured'] - 1:+.1%}",
            )
            for row in made["loo"]
        ]
        header = ("encoder", "measured", "predicted without it", "error")
        show_table(f"{target}: leave-one-out error {made['error']:.1%} (median)", header, rows)
        show_table(f"{target}: one operator more costs", ("operator", "ms"), _operator_rows(made))
        measured = made["measurements"]
        said = Counter(warning for measurement in measured for warning in measurement["warnings"])
        for warning, count in said.items():
            talk(f"Warning: {target}, {count} of {len(measured)} encoders: {warning}")
        steps = ", ".join(
            f"{probe['width']} to {probe['width'] + 1}: ×{probe['ratio']:.3f}"
            for probe in made["probes"]
            if probe["ratio"] is not None  # None where the pair could not be measured
        )
        say(f"Tile: {made['tile'] or 'none shows'} (feed-forward width {steps or 'not measured'})")
        others = ", ".join(f"{name} ({error:.1%})" for name, error in made["others"].items())
        say(f"Predicted too, with leave-one-out error: {others or 'nothing'}")
        say(f"Profile: {made['file']}")


def _operator_rows(made: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (row["operator"], f"{row['ms']:.3g} {interval(*row['interval'])}")
        for row in made["operators"]
    ]

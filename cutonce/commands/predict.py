"""Predict the latency of configurations on a profiled target, with an interval.

PROFILE is a profile's file or a target that `cutonce profile` has profiled on this machine. CONFIG is
an architecture file, a Hugging Face directory or its config.json, or a shape such as
L6-H384-A12-F1536.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cutonce.console import interval, milliseconds, show_table
from cutonce.options import add_out, add_workload, keep
from deploy.workload import Workload
from devices.errors import StoreError


def predict(
    profile: str | Path,
    configurations: Sequence[str],
    *,
    batch: int = 1,
    length: int = 128,
    store: Path | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Milliseconds of every configuration, with a 90 % interval and whether it is in domain.

    Args:
        profile: a profile's file, or a profiled target.
        configurations: architecture files, model directories or shapes.
        batch, length: the workload, in sequences and tokens.
        out: write the result there too, as JSON.

    Raises:
        UsageError: a configuration cannot be read.
        StoreError: there is no such profile.
    """
    from cutonce.configurations import read_configuration

    target, predictor = _find(profile, store)
    architectures = [read_configuration(text) for text in configurations]
    workloads = [Workload(batch, length)] * len(architectures)
    ms = predictor.predict(architectures, workloads)
    lower, upper = predictor.predict_interval(architectures, workloads)
    known = predictor.in_domain(architectures, workloads)
    rows = [
        {
            "configuration": text,
            "ms": float(ms[i]),
            "lower": float(lower[i]),
            "upper": float(upper[i]),
            "in_domain": bool(known[i]),
        }
        for i, text in enumerate(configurations)
    ]
    return keep(out, {"target": target, "workload": workloads[0].to_json(), "predictions": rows})


def _find(profile: str | Path, store: Path | None) -> tuple[str, Any]:
    from cutonce.profiles import load_predictor, stored_predictor
    from devices.target import Target
    from profiler.store import open_store

    if Path(profile).is_file() or str(profile).endswith(".json"):
        return load_predictor(Path(profile))
    target = Target.parse(str(profile))
    with open_store(store) as opened:
        predictor = stored_predictor(opened, target)
    if predictor is None:
        raise StoreError(
            f"No profile of {target} on this machine; `cutonce profile {target}` makes one."
        )
    return str(target), predictor


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("profile", metavar="PROFILE", help="a profile's file, or a profiled target")
    parser.add_argument("configurations", nargs="+", metavar="CONFIG", help="what to predict")
    parser.add_argument("--store", type=Path, help="measurement store (default: the user's own)")
    add_workload(parser)
    add_out(parser)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = predict(
        args.profile,
        args.configurations,
        batch=args.batch,
        length=args.length,
        store=args.store,
        out=args.out,
    )
    return result, 0


def show(result: dict[str, Any]) -> None:
    rows = [
        (
            row["configuration"],
            milliseconds(row["ms"]),
            interval(row["lower"], row["upper"]),
            "yes" if row["in_domain"] else "no: an extrapolation",
        )
        for row in result["predictions"]
    ]
    show_table(
        f"{result['target']}", ("configuration", "predicted", "90 % interval", "in domain"), rows
    )

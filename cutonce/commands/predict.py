"""Predict the latency of configurations on a profiled target, with an interval.

PROFILE is a profile's file or a target that `cutonce profile` has profiled on this machine. CONFIG is
an architecture file, a Hugging Face directory or its config.json, a shape such as L6-H384-A12-F1536, or
@FILE with one of these on every line. With --lengths the workload is a distribution of lengths.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutonce.console import interval, milliseconds, show_table, talk
from cutonce.options import add_out, add_workload, keep
from deploy.workload import Workload
from devices.errors import NotTrustworthy, StoreError, UsageError

if TYPE_CHECKING:
    from cutonce.profiles import Kept
    from deploy.architecture import Architecture
    from predictors.predictor import LatencyPredictor

HERE = ("local", "fake")  # devices whose fingerprint can be taken at once


def predict(
    profile: str | Path,
    configurations: Sequence[str],
    *,
    batch: int = 1,
    length: int = 128,
    lengths: Mapping[int, float] | None = None,
    budget: float | None = None,
    strict: bool = False,
    force: bool = False,
    store: Path | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Milliseconds of every configuration, with a 90 % interval and whether it is in domain.

    Args:
        profile: a profile's file, or a profiled target.
        configurations: architecture files, model directories, shapes, or @FILE with one on every line.
        batch, length: the workload, in sequences and tokens.
        lengths: the share of every length; expected and p95 milliseconds over them are added.
        budget: milliseconds; the probability to stay within is added.
        strict: refuse configurations that are out of domain.
        force: use a profile that another machine made.
        out: write the result there too, as JSON.

    Raises:
        UsageError: a configuration cannot be read, or another machine made the profile.
        StoreError: there is no such profile.
        NotTrustworthy: ``strict``, and a configuration is out of domain; the result is written all the
            same.
    """
    from cutonce.configurations import read_configurations

    kept = _find(profile, store)
    said = _of_another_machine(kept, force)
    found = read_configurations(configurations)
    workload = Workload(batch, length)
    rows = _rows(kept.predictor, found, workload, lengths, budget)
    result = {
        "target": str(kept.target),
        "tier": kept.predictor.tier,
        "workload": workload.to_json(),
        "another_machine": said,
        "predictions": rows,
    }
    keep(out, result)
    far = [row["configuration"] for row in rows if not row["in_domain"]]
    if strict and far:
        raise NotTrustworthy(
            f"{len(far)} of {len(found)} configurations are outside of what was measured, first "
            f"{far[0]}; profile around a model like it, or leave out --strict."
        )
    return result


def _rows(
    predictor: LatencyPredictor,
    found: Mapping[str, Architecture],
    workload: Workload,
    lengths: Mapping[int, float] | None,
    budget: float | None,
) -> list[dict[str, Any]]:
    from predictors.lengths import latency_over

    architectures, workloads = list(found.values()), [workload] * len(found)
    ms = predictor.predict(architectures, workloads).tolist()
    lower, upper = (v.tolist() for v in predictor.predict_interval(architectures, workloads))
    known = predictor.in_domain(architectures, workloads).tolist()
    columns: dict[str, list[Any]] = {
        "configuration": [*found],
        "ms": ms,
        "lower": lower,
        "upper": upper,
        "in_domain": known,
    }
    if budget is not None:
        columns["probability"] = predictor.probability(architectures, workloads, budget).tolist()
    if lengths is not None:
        over = [latency_over(predictor, a, lengths, workload.batch) for a in architectures]
        columns["expected_ms"] = [expected for expected, _ in over]
        columns["p95_ms"] = [high for _, high in over]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _find(profile: str | Path, store: Path | None) -> Kept:
    from cutonce.profiles import load_profile, stored_profile
    from devices.target import Target
    from profiler.store import open_store

    if Path(profile).is_file() or str(profile).endswith(".json"):
        return load_profile(Path(profile))
    target = Target.parse(str(profile))
    with open_store(store) as opened:
        kept = stored_profile(opened, target)
    if kept is None:
        raise StoreError(
            f"No profile of {target} on this machine; `cutonce profile {target}` makes one."
        )
    return kept


def _of_another_machine(kept: Kept, force: bool) -> str:
    """What tells the machine that the profile was made on from this one; empty where nothing does."""
    from devices.device import open_device

    if kept.target.device.partition(":")[0] not in HERE:
        return ""
    here = open_device(kept.target.device).fingerprint()
    if here.id == kept.fingerprint.id:
        return ""
    said = "; ".join(kept.fingerprint.differences(here))
    if not force:
        raise UsageError(
            f"Another machine made this profile of {kept.target} ({said}); profile this one, or add "
            "--force to predict for the other."
        )
    return said


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("profile", metavar="PROFILE", help="a profile's file, or a profiled target")
    parser.add_argument("configurations", nargs="+", metavar="CONFIG", help="what to predict")
    parser.add_argument("--store", type=Path, help="measurement store (default: the user's own)")
    add_workload(parser)
    parser.add_argument(
        "--lengths", type=_lengths, metavar="L:SHARE,…", help="tokens and shares, as 32:0.7,128:0.3"
    )
    parser.add_argument("--budget", type=float, metavar="MS", help="say how probably it is kept to")
    parser.add_argument("--strict", action="store_true", help="exit 3 where one is out of domain")
    parser.add_argument("--force", action="store_true", help="use a profile of another machine")
    add_out(parser)


def _lengths(text: str) -> dict[int, float]:
    try:
        pairs = [part.split(":") for part in text.split(",")]
        return {int(length): float(share) for length, share in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no distribution of lengths, expected as in 32:0.7,128:0.3"
        ) from None


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = predict(
        args.profile,
        args.configurations,
        batch=args.batch,
        length=args.length,
        lengths=args.lengths,
        budget=args.budget,
        strict=args.strict,
        force=args.force,
        store=args.store,
        out=args.out,
    )
    return result, 0


def show(result: dict[str, Any]) -> None:
    if result["another_machine"]:
        talk(f"Another machine made this profile: {result['another_machine']}.")
    if result["tier"] == 0:
        talk("An estimate: nothing was measured on this target.")
    extra = {
        "expected_ms": ("expected over lengths", milliseconds),
        "p95_ms": ("p95 over lengths", milliseconds),
        "probability": ("within the budget", "{:.0%}".format),
    }
    shown = [key for key in extra if result["predictions"] and key in result["predictions"][0]]
    rows = [
        (
            row["configuration"],
            milliseconds(row["ms"]),
            interval(row["lower"], row["upper"]),
            "yes" if row["in_domain"] else "no: an extrapolation",
            *(extra[key][1](row[key]) for key in shown),
        )
        for row in result["predictions"]
    ]
    header = ("configuration", "predicted", "90 % interval", "in domain")
    show_table(f"{result['target']}", (*header, *(extra[key][0] for key in shown)), rows)

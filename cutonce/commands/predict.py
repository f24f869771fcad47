"""Predict the latency of configurations on a profiled target, with an interval.

PROFILE is a profile's file or a target that `cutonce profile` has profiled on this machine. CONFIG is
an architecture file, a Hugging Face directory or its config.json, a shape such as L6-H384-A12-F1536, or
@FILE with one of these on every line. With --lengths the workload is a distribution of lengths.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutonce.console import interval, milliseconds, show_table, talk
from cutonce.options import add_out, add_workload, keep
from deploy.workload import Workload
from devices.errors import NotTrustworthy, StoreError, UsageError

if TYPE_CHECKING:
    from cutonce.profiles import Kept
    from deploy.architecture import Architecture

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
    estimate: str | None = None,
    store: str | Path | None = None,
    out: str | Path | None = None,
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
        estimate: for a machine that nothing was measured on: ``here`` for this one, by a probe of five
            seconds, or how many times as fast it computes and reads memory, as ``2,1.5``.
        out: write the result there too, as JSON.

    Raises:
        UsageError: a configuration cannot be read, or another machine made the profile.
        StoreError: there is no such profile.
        NotTrustworthy: ``strict``, and a configuration is out of domain; the result is written all the
            same.
    """
    from cutonce.configurations import read_configurations

    kept = _find(profile, store)
    if estimate is None:
        said = _of_another_machine(kept, force)
    else:
        said, kept = "", _estimated(kept, estimate)
    found = read_configurations(configurations)
    workload = Workload(batch, length)
    rows = _rows(kept, found, workload, lengths, budget)
    result = {
        "target": str(kept.target),
        "streams": kept.target.streams,
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
    kept: Kept,
    found: Mapping[str, Architecture],
    workload: Workload,
    lengths: Mapping[int, float] | None,
    budget: float | None,
) -> list[dict[str, Any]]:
    from predictors.lengths import latency_over

    predictor = kept.predictor
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
        "sequences_per_second": [1e3 * workload.batch / each for each in ms],
    }
    if budget is not None:
        columns["probability"] = predictor.probability(architectures, workloads, budget).tolist()
    if lengths is not None:
        over = [latency_over(predictor, a, lengths, workload.batch) for a in architectures]
        columns["expected_ms"] = [expected for expected, _ in over]
        columns["p95_ms"] = [high for _, high in over]
    columns["others"] = _others(kept, architectures, workloads)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _others(
    kept: Kept, architectures: list[Architecture], workloads: list[Workload]
) -> list[dict[str, dict[str, Any]]]:
    """Per configuration, by name, what the profile tells beside milliseconds."""
    found: list[dict[str, dict[str, Any]]] = [{} for _ in architectures]
    for name, other in kept.others.items():
        values = other.predict(architectures, workloads).tolist()
        ends = other.predict_interval(architectures, workloads)
        for row, value, low, high in zip(found, values, *(e.tolist() for e in ends), strict=True):
            row[name] = {"value": value, "interval": [low, high], "unit": other.quantity.unit}
    return found


def _find(profile: str | Path, store: str | Path | None) -> Kept:
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


def _estimated(kept: Kept, estimate: str) -> Kept:
    """What of ``kept`` is known of a machine that nothing was measured on."""
    from cutonce.speed import probe_speed
    from predictors.transfer import Speed

    if estimate == "here":
        had, has = kept.speed, probe_speed(kept.target)
    else:
        try:
            compute, memory = map(float, estimate.split(","))
        except ValueError:
            raise UsageError(
                f"{estimate!r} is no speed to estimate for, expected `here`, or how many times as fast "
                "it computes and reads memory, as 2,1.5."
            ) from None
        had, has = Speed(1.0, 1.0), Speed(compute, memory)
    if had is None or has is None:
        raise UsageError(
            f"The speed of {kept.target.device} was not probed for this profile; `cutonce profile "
            f"{kept.target}` does, or say how many times as fast the other is, as 2,1.5."
        )
    # What is stored is the same anywhere; energy is of the machine.
    others = {name: other for name, other in kept.others.items() if other.quantity.stored}
    return replace(kept, predictor=kept.predictor.estimate(had, has), others=others)


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
    parser.add_argument(
        "--estimate",
        metavar="here|C,M",
        help="for a machine that nothing was measured on: this one, after a probe of 5 s, or one that "
        "computes C and reads memory M times as fast as that of the profile",
    )
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
        estimate=args.estimate,
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
        "sequences_per_second": ("sequences a second", "{:.0f}".format),
        "expected_ms": ("expected over lengths", milliseconds),
        "p95_ms": ("p95 over lengths", milliseconds),
        "probability": ("within the budget", "{:.0%}".format),
    }
    hidden = {"sequences_per_second"} if result["streams"] == 1 else set()
    present = {key for row in result["predictions"][:1] for key in row} - hidden
    shown = [key for key in extra if key in present]
    rows = [
        (
            row["configuration"],
            milliseconds(row["ms"]),
            interval(row["lower"], row["upper"]),
            "yes" if row["in_domain"] else "no: an extrapolation",
            *(extra[key][1](row[key]) for key in shown),
            *(f"{o['value']:.3g} {interval(*o['interval'])}" for o in row["others"].values()),
        )
        for row in result["predictions"]
    ]
    others = [row["others"] for row in result["predictions"][:1]]
    header = (
        "configuration", "predicted", "90 % interval", "in domain",
        *(extra[key][0] for key in shown),
        *(f"{name} in {o['unit']}" for other in others for name, o in other.items()),
    )  # fmt: skip
    show_table(f"{result['target']}", header, rows)

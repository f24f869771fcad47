"""Set two results of `cutonce measure --out FILE` side by side: a ratio with its interval.

Refused where they were taken on machines that differ, or of different workloads: such a ratio means
nothing. Targets of the same name are compared; where each file holds a single target, these two.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from cutonce.console import interval, milliseconds, show_table, talk
from cutonce.options import add_out, keep
from devices.errors import DataError, NotTrustworthy, UsageError
from devices.fingerprint import Fingerprint


def compare(
    first: str | Path, second: str | Path, *, out: str | Path | None = None
) -> dict[str, Any]:
    """How many times as long ``second`` takes as ``first``, per target.

    Args:
        first, second: files that ``measure`` wrote.
        out: write the result there too, as JSON.

    Raises:
        DataError: a file is no result of measure.
        UsageError: the two have no target in common.
        NotTrustworthy: they were measured on different machines, or with different workloads.
    """
    from profiler.statistics import ratio

    one, two = _read(Path(first)), _read(Path(second))
    rows = []
    for before, after in _pairs(one, two):
        _check_alike(one, two, before, after)
        value, low, high = ratio(_minima(before), _minima(after))
        rows.append(
            {
                "targets": [before["target"], after["target"]],
                "intrinsic": [before["statistics"]["intrinsic"], after["statistics"]["intrinsic"]],
                "ratio": value,
                "interval": [low, high],
                "differs": not low <= 1 <= high,
                "warnings": [*before["warnings"], *after["warnings"]],
            }
        )
    return keep(out, {"models": [one["model"], two["model"]], "comparisons": rows})


def _read(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for entry in data["measurements"]:
            _ = entry["target"], entry["fingerprint"], entry["workload"], _minima(entry)
            _ = Fingerprint.from_json(data["machines"][entry["fingerprint"]])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no result of a measurement ({type(error).__name__}: {error}); "
            f"`cutonce measure MODEL --target T --out {path}` writes one."
        ) from error
    return data


def _pairs(one: dict[str, Any], two: dict[str, Any]) -> list[tuple[Any, Any]]:
    before = {entry["target"]: entry for entry in one["measurements"]}
    after = {entry["target"]: entry for entry in two["measurements"]}
    if len(before) == len(after) == 1:
        return [(*before.values(), *after.values())]
    shared = [target for target in before if target in after]
    if not shared:
        raise UsageError(
            f"The results have no target in common: {', '.join(before)} and {', '.join(after)}; measure "
            "both on one."
        )
    return [(before[target], after[target]) for target in shared]


def _check_alike(one: dict[str, Any], two: dict[str, Any], before: Any, after: Any) -> None:
    machine = Fingerprint.from_json(one["machines"][before["fingerprint"]])
    other = Fingerprint.from_json(two["machines"][after["fingerprint"]])
    if machine.id != other.id:
        raise NotTrustworthy(
            f"{before['target']} and {after['target']} were measured on machines that differ "
            f"({'; '.join(machine.differences(other))}); measure both on one."
        )
    if before["workload"] != after["workload"]:
        raise NotTrustworthy(
            f"The workloads differ ({before['workload']}, not {after['workload']}); measure both with "
            "the same --batch and --length."
        )


def _minima(entry: dict[str, Any]) -> list[float]:
    return [min(visit["ms"]) for visit in entry["visits"]]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="FIRST", help="what `cutonce measure --out` wrote")
    parser.add_argument("second", metavar="SECOND", help="another such file")
    add_out(parser)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    return compare(args.first, args.second, out=args.out), 0


def show(result: dict[str, Any]) -> None:
    rows = [
        (
            " : ".join(dict.fromkeys(row["targets"])),
            milliseconds(row["intrinsic"][0]),
            milliseconds(row["intrinsic"][1]),
            f"{row['ratio']:.3f} {interval(*row['interval'])}",
            "differs" if row["differs"] else "no difference shown",
        )
        for row in result["comparisons"]
    ]
    first, second = result["models"]
    header = ("target", "first intrinsic", "second intrinsic", "second / first", "verdict")
    show_table(f"{second} against {first}", header, rows)
    for row in result["comparisons"]:
        for warning in dict.fromkeys(row["warnings"]):
            talk(f"Warning: {warning}")

"""What was measured so far: show it, take in another store, or write it as Parquet.

`cutonce store` shows what there is per target and machine, `cutonce store merge OTHER.sqlite` copies
what another store has and this one has not, `cutonce store parquet FILE` writes every visit as a row.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cutonce.console import show as say
from cutonce.console import show_table
from cutonce.options import add_out, keep
from devices.errors import UsageError


def store(
    action: str = "show",
    file: str | Path | None = None,
    *,
    store: str | Path | None = None,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Show, merge or export a measurement store.

    Args:
        action: ``show``, ``merge`` or ``parquet``.
        file: the store to merge, or the Parquet file to write.
        store: default: the user's own.
        out: write the result there too, as JSON.

    Raises:
        UsageError: ``merge`` or ``parquet`` without a file.
        StoreError: a store cannot be used.
    """
    from profiler.exchange import merge, write_parquet
    from profiler.store import open_store

    if (file is None) != (action == "show"):
        raise UsageError(
            "Give `merge` the other store, `parquet` the file to write, and `show` nothing."
        )
    with open_store(store) as opened:
        result: dict[str, Any] = {"store": str(opened.path), "action": action}
        if action == "merge":
            result["visits"] = merge(opened, Path(file or ""))
        elif action == "parquet":
            result |= {"visits": write_parquet(opened, Path(file or "")), "file": str(file)}
        machines = opened.fingerprints()
        result["targets"] = [
            {
                "target": target,
                "fingerprint": owner,
                "cpu": machines[owner].cpu,
                "configurations": configurations,
                "visits": visits,
            }
            for target, owner, configurations, visits in opened.counts()
        ]
    return keep(out, result)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        default="show",
        choices=("show", "merge", "parquet"),
        help="default show",
    )
    parser.add_argument("file", nargs="?", help="the store to merge, or the Parquet file to write")
    parser.add_argument("--store", type=Path, help="measurement store (default: the user's own)")
    add_out(parser)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    return store(args.action, args.file, store=args.store, out=args.out), 0


def show(result: dict[str, Any]) -> None:
    if result["action"] == "merge":
        say(f"{result['visits']} visits taken in.")
    if result["action"] == "parquet":
        say(f"{result['visits']} visits written to {result['file']}.")
    rows = [
        (
            row["target"],
            row["cpu"],
            row["fingerprint"],
            str(row["configurations"]),
            str(row["visits"]),
        )
        for row in result["targets"]
    ]
    header = ("target", "processor", "fingerprint", "configurations", "visits")
    show_table(result["store"], header, rows)

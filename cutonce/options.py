"""Flags that several commands share, and what they turn into."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from devices.errors import UsageError
from devices.files import write_json

TASK_KEYS = ("task", "data", "text", "text_pair", "label", "evaluation", "max_length")


def add_workload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, default=1, help="sequences per run (default 1)")
    parser.add_argument("--length", type=int, default=128, help="tokens per sequence (default 128)")


def add_workloads(parser: argparse.ArgumentParser) -> None:
    """Several of each, every batch with every length."""
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[1], help="sequences per run (default 1)"
    )
    parser.add_argument(
        "--length", type=int, nargs="+", default=[128], help="tokens per sequence (default 128)"
    )


def add_measuring(parser: argparse.ArgumentParser, visits: int = 30) -> None:
    parser.add_argument("--store", type=Path, help="measurement store (default: the user's own)")
    parser.add_argument(
        "--visits", type=int, default=visits, help=f"visits per configuration (default {visits})"
    )


def add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="write the result there as JSON, too")


def keep(out: str | Path | None, result: dict[str, Any]) -> dict[str, Any]:
    """``result``, written to the file ``out`` where one is named."""
    if out is not None:
        write_json(Path(out), result)
    return result


def add_task(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    group = parser.add_argument_group("task")
    group.add_argument("--task", help="kind of task (default: what the model is for)")
    group.add_argument(
        "--data", required=required, help="TSV, CSV, JSONL or Parquet file, or hub:NAME"
    )
    group.add_argument("--text", required=required, help="column with the text")
    group.add_argument("--text-pair", help="column with the second text of a pair")
    group.add_argument(
        "--label", help="column with the labels; without it only agreement is reported"
    )
    group.add_argument(
        "--eval", dest="evaluation", help="file of the report split (default: 10 %% of --data)"
    )
    group.add_argument(
        "--max-length", type=int, default=128, help="tokens kept per text (default 128)"
    )


def add_optional_task(parser: argparse.ArgumentParser) -> None:
    """The task's flags where a sub-network remembers its task; what is given takes its place."""
    add_task(parser)
    parser.set_defaults(**dict.fromkeys(TASK_KEYS))


def task_keywords(args: argparse.Namespace) -> dict[str, Any]:
    """The task flags as keyword arguments of the command's Python function."""
    return {key: getattr(args, key) for key in TASK_KEYS}


def require_at_least(least: int, **values: float) -> None:
    """Raises UsageError for a flag whose value is below ``least``."""
    for name, value in values.items():
        if value < least:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {least}, not {value}.")

"""Write a self-contained web page of a search run: fronts, predictions, time per operator, proofs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cutonce.console import show as say


def report(run: str | Path, *, out: str | Path | None = None) -> dict[str, Any]:
    """Write the page of the search in directory ``run``; opens without network.

    Raises:
        DataError: ``run`` holds no finished search.
        MissingDependency: plotly is not installed.
    """
    from cutonce.page import render
    from devices.files import write_text

    path = Path(out or Path(run) / "report.html")
    write_text(path, render(Path(run)))
    return {"page": str(path)}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="directory of a finished search")
    parser.add_argument("--out", type=Path, help="the page (default RUN/report.html)")


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    return report(args.run, out=args.out), 0


def show(result: dict[str, Any]) -> None:
    say(f"Report: {result['page']}")

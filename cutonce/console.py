"""Talk on stderr, results on stdout."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from devices.errors import CutonceError

Advance = Callable[[int, int], None]
"""Called with (done, total)."""


@cache
def _stderr() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def talk(text: str) -> None:
    """One line of progress on stderr."""
    _stderr().print(text, markup=False)


def _by_quarters(label: str) -> Advance:
    """Progress for a log: a line at each quarter of what is long enough to have quarters."""
    said = 0

    def advance(done: int, total: int) -> None:
        nonlocal said
        quarter = 4 * done // total
        if total >= 100 and said < quarter < 4:
            said = quarter
            talk(f"{label} … {25 * quarter} %")

    return advance


@contextmanager
def progress(label: str) -> Iterator[Advance]:
    """A progress bar on stderr while the block runs; a single line where stderr is no terminal. Of
    several processes the main one shows it."""
    if not _is_main():
        yield lambda _done, _total: None
        return
    if not _stderr().is_terminal:
        talk(f"{label} …")
        yield _by_quarters(label)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_stderr(), transient=True) as bar:
        task = bar.add_task(label, total=1)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def told_once() -> Iterator[None]:
    """Of the processes that `accelerate launch` started the main one tells what came out, or what all of
    them found wrong. Another ends here without a word, unless it met what nobody expects."""
    code = 0
    try:
        yield
    except CutonceError as error:
        if _is_main():
            raise
        code = error.exit_code
    except KeyboardInterrupt:
        if _is_main():
            raise
        code = 128 + signal.SIGINT
    if not _is_main():
        raise SystemExit(code)


def _is_main() -> bool:
    """Known before a process has met the others."""
    return os.environ.get("RANK", "0") == "0"


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; the first column is left-aligned, the others right."""
    # Cells hold what users name, in which rich would take brackets for its markup.
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    # Where stdout is a file or a pipe there is no terminal width to fit; never truncate there.
    width = None if sys.stdout.isatty() else 200
    Console(width=width, highlight=False).print(table)


def show(text: str) -> None:
    """A line of the result on stdout."""
    print(text)


def milliseconds(value: float) -> str:
    return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"


def interval(low: float, high: float) -> str:
    return f"[{low:.3g}, {high:.3g}]"


def limits(kept: Sequence[Mapping[str, Any]]) -> str:
    """Limits of a budget on one target, each with its ``limit``, ``unit`` and ``bound``."""
    named = {"p90": " p90", "memory": " of memory"}
    return ", ".join(
        f"{some['limit']:.3g} {some['unit']}{named.get(some['bound'], '')}" for some in kept
    )

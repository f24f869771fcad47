"""Numbers and markup: how a value is written on the page."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from cutonce.scores import NONE, quoted

Evidence = dict[str, Any]
"""What run.json holds, or a part of it."""


class Html(str):
    """Markup; any other text is escaped before it enters the page."""


def escaped(value: object) -> Html:
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def breakable(name: str) -> Html:
    """A long name that may be broken after a slash or before a limit."""
    return Html(escaped(name).replace("/", "/<wbr>").replace("=", "<wbr>="))


def milliseconds(value: float) -> str:
    """Three significant digits, without the unit."""
    decimals = next((d for d, least in enumerate((100, 10, 1)) if abs(value) >= least), 3)
    return f"{value:,.{decimals}f}"


def interval(value: float, lower: float, upper: float) -> str:
    return f"{milliseconds(value)} [{milliseconds(lower)}, {milliseconds(upper)}]"


def percent(value: float | None) -> str:
    return NONE if value is None else f"{value:.1%}"


def megabytes(value: float) -> str:
    return f"{value / 1e6:,.1f} MB"


def score(metrics: Mapping[str, Any] | None, split: str) -> str:
    """The score to quote on ``split``; agreement with the dense model where there are no labels."""
    return quoted((metrics or {}).get(split))


def bounded(statistics: Mapping[str, Any], bound: str) -> float:
    """The milliseconds that a budget of this bound limits."""
    return float(statistics[bound])


def table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    texts: Collection[int] = (0,),
) -> Html:
    """A captioned table; the columns in ``texts`` are left-aligned, all others are numbers."""
    sides = ["text" if column in texts else "number" for column in range(len(header))]
    head = "".join(
        f'<th scope="col" class="{side}">{escaped(name)}</th>'
        for name, side in zip(header, sides, strict=True)
    )
    body = "\n".join(f"<tr>{_cells(row, sides)}</tr>" for row in rows)
    return scrolling(
        caption,
        Html(
            f"<table><caption>{escaped(caption)}</caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
        ),
    )


def scrolling(label: str, content: Html) -> Html:
    """Wide content scrolls in its own box, by keyboard too, and leaves the page its width."""
    return Html(
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escaped(label)}">\n'
        f"{content}\n</div>"
    )


def section(heading: str, note: str, *parts: Html) -> Html:
    intro = f"<p>{escaped(note)}</p>\n" if note else ""
    return Html(f"<section>\n<h2>{escaped(heading)}</h2>\n{intro}{''.join(parts)}\n</section>\n")


def _cells(row: Sequence[object], sides: Sequence[str]) -> str:
    cells = [
        f'<td class="{side}">{escaped(value)}</td>' for value, side in zip(row, sides, strict=True)
    ]
    cells[0] = f'<th scope="row" class="{sides[0]}">{escaped(row[0])}</th>'
    return "".join(cells)

"""What stayed of the dense model: heads and widths per position, shaded by the fraction kept."""

from __future__ import annotations

from collections.abc import Sequence

from cutonce.page.text import Evidence, Html, breakable, escaped, scrolling

CAPTION = "Heads (A) and feed-forward widths (F) kept at every position"
# The darkest shade still carries dark text at a contrast above 7:1.
FULL = (134, 184, 226)


def kept(run: Evidence) -> Html:
    """One row per budget below one of the dense model; a dash is a dropped sub-layer."""
    dense = run["dense"]["chain"]
    positions = "".join(f'<th scope="col">{index}</th>' for index in range(1, len(dense) + 1))
    rows = [_row("dense", dense, dense)]
    rows += [_row(_name(budget), budget["chain"], dense) for budget in run["budgets"]]
    body = "\n".join(rows)
    return scrolling(
        CAPTION,
        Html(
            f'<table class="grid"><caption>{CAPTION}</caption>\n'
            f'<thead><tr><th scope="col" class="text">Position</th>{positions}</tr></thead>\n'
            f"<tbody>\n{body}\n</tbody></table>"
        ),
    )


def _name(budget: Evidence) -> str:
    trunk = budget.get("trunk")
    return f"{budget['budget']} ({trunk})" if trunk else str(budget["budget"])


def _row(name: str, chain: Sequence[str], dense: Sequence[str]) -> str:
    cells = "".join(_cell(op, whole) for op, whole in zip(chain, dense, strict=True))
    return f'<tr><th scope="row" class="text">{breakable(name)}</th>{cells}</tr>'


def _cell(operator: str, dense: str) -> str:
    if operator == "-":
        return '<td class="dropped" title="dropped">–</td>'
    share = fraction(operator, dense)
    shade = ", ".join(f"{255 - share * (255 - full):.0f}" for full in FULL)
    return (
        f'<td style="background: rgb({shade})" title="{share:.0%} of {escaped(dense)}">'
        f"{escaped(operator)}</td>"
    )


def fraction(operator: str, dense: str) -> float:
    """Share of ``dense`` that ``operator`` keeps: A4 of A12 is a third."""
    return int(operator[1:]) / int(dense[1:])

"""The fronts: quality against predicted latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from cutonce.page.plotting import BLUE, GREEN, GREY, INK, ORANGE, new_figure, wrapped
from cutonce.page.text import Evidence, interval, milliseconds
from cutonce.scores import headline, name_of

Quality = Callable[[Evidence], float]
DENSE = {"color": INK, "size": 11, "symbol": "square"}
SHIPPED = {"color": GREEN, "size": 11, "symbol": "diamond"}
CHOSEN = {"color": ORANGE, "size": 17, "symbol": "circle-open", "line": {"width": 2.5}}


def front(run: Evidence, target: str) -> go.Figure:
    """Quality against predicted latency on one target: every evaluated network."""
    title, tickformat, quality = quality_axis(run)
    figure = new_figure(target, "predicted latency, ms", title)
    figure.update_yaxes(tickformat=tickformat)
    rows = [row for row in run["evaluated"] if target in row["ms"]]
    budgets = [budget for budget in run["budgets"] if budget["target"] == target]
    networks = {_network(budget) for budget in budgets}
    for name, shown, style in (
        ("front", _front_of(rows, target, quality), {"line": {"color": GREY, "width": 1.5}}),
        ("evaluated", rows, {"marker": {"color": BLUE, "size": 8}}),
        (
            "dense",
            [row for row in rows if _network(row) == _network(run["dense"])],
            {"marker": DENSE},
        ),
        ("chosen", [row for row in rows if _network(row) in networks], {"marker": CHOSEN}),
        ("as shipped", _shipped(rows, budgets), {"marker": SHIPPED}),
    ):
        if shown:
            figure.add_scatter(
                x=[row["ms"][target]["predicted"] for row in shown],
                y=[quality(row) for row in shown],
                text=[_hover(row, target) for row in shown],
                mode="lines" if "line" in style else "markers",
                name=name,
                hovertemplate="%{text}<extra></extra>",
                **style,
            )
    for budget in budgets:
        _limit_line(figure, budget)
    return figure


def quality_axis(run: Evidence) -> tuple[str, str, Quality]:
    """Title, tick format and value: the task's score where every network has one, else −KL."""
    if all(row.get("score") is not None for row in run["evaluated"]):
        name = name_of(run["dense"]["metrics"]["search"])
        return f"{name} on the search split", "", lambda row: float(row["score"])
    return "−KL from dense (nats)", "", lambda row: -float(row["kl"])


def _front_of(rows: Sequence[Evidence], target: str, quality: Quality) -> list[Evidence]:
    """The rows that no faster one equals in quality, fastest first."""
    best: list[Evidence] = []
    for row in sorted(rows, key=lambda row: (row["ms"][target]["predicted"], -quality(row))):
        if not best or quality(row) > quality(best[-1]):
            best.append(row)
    return best


def _shipped(rows: Sequence[Evidence], budgets: Sequence[Evidence]) -> list[Evidence]:
    """The chosen networks after distillation, where the front is drawn in the task's score."""
    if any(row.get("score") is None for row in rows):
        return []
    chosen = {_network(row): row for row in rows}
    shipped = []
    for budget in budgets:
        row, scores = chosen.get(_network(budget)), budget["metrics"]["search"]
        found = headline(scores)
        if row is not None and found is not None:
            shipped.append({**row, "kl": None, "score": found[1]})
    return shipped


def _network(row: Evidence) -> tuple[str, ...]:
    return _weights(row), *row["chain"]


def _weights(row: Evidence) -> str:
    """What tells networks of one chain apart; empty for the dense model's own."""
    taught = "as trained" if row.get("taught") else ""
    return ", ".join(filter(None, (row.get("trunk", ""), taught)))


def _limit_line(figure: go.Figure, budget: Evidence) -> None:
    tail = " p90" if budget["bound"] == "p90" else ""
    figure.add_vline(
        budget["limit"],
        line={"color": ORANGE, "width": 1, "dash": "dot"},
        annotation={
            "text": f"budget {milliseconds(budget['limit'])} ms{tail}",
            "textangle": -90,
            # Below the front, where dominated networks are few.
            "y": 0,
            "xanchor": "left",
            "yanchor": "bottom",
            "font": {"size": 11, "color": ORANGE},
        },
    )


def _hover(row: Evidence, target: str) -> str:
    ms = row["ms"][target]
    predicted = interval(ms["predicted"], ms["lower"], ms["upper"])
    loss = "as shipped" if row["kl"] is None else f"KL {row['kl']:.3g}"
    score = "" if row.get("score") is None else f", score {row['score']:.3f}"
    quality = f"{loss}{score}"
    weights = f"{_weights(row)}<br>" if _weights(row) else ""
    return f"{weights}{wrapped(row['chain'])}<br>{predicted} ms<br>{quality}"

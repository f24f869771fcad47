"""The plots of predictions and of operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from cutonce.page.plotting import AMBER, BLUE, GREY, INK, ORANGE, new_figure, wrapped
from cutonce.page.text import Evidence, escaped, milliseconds

KINDS = {"attention": BLUE, "feed-forward": AMBER}


def predictions(name: str, target: Evidence) -> go.Figure:
    """Predicted against measured latency, with the intervals of both."""
    figure = new_figure(name, "measured latency, ms", "predicted latency, ms")
    loo, checked = target["loo"], target["checked"]
    ends = [row[key] for row in [*loo, *checked] for key in ("measured", "predicted")]
    ends += [row[key] for row in checked for key in ("lower", "upper")]
    if ends:
        span = [0.95 * min(ends), 1.05 * max(ends)]
        line = {"color": GREY, "width": 1, "dash": "dash"}
        figure.add_scatter(x=span, y=span, mode="lines", name="equal", line=line, hoverinfo="skip")
    _compare(figure, "profile, each left out", loo, marker={"color": GREY, "size": 8})
    _compare(
        figure,
        "candidates",
        checked,
        marker={"color": ORANGE, "size": 9, "symbol": "diamond"},
        error_x=_bars([(row["measured"], *row["interval"]) for row in checked]),
        error_y=_bars([(row["predicted"], row["lower"], row["upper"]) for row in checked]),
    )
    return figure


def _compare(figure: go.Figure, name: str, rows: Sequence[Evidence], **style: Any) -> None:
    if rows:
        figure.add_scatter(
            x=[row["measured"] for row in rows],
            y=[row["predicted"] for row in rows],
            text=[wrapped(row["label"].split(" ")) for row in rows],
            mode="markers",
            name=name,
            hovertemplate="%{text}<br>measured %{x:.3g} ms<br>predicted %{y:.3g} ms<extra></extra>",
            **style,
        )


def operators(run: Evidence) -> go.Figure:
    """Where the dense model's time goes: one stacked bar per target, operators in order."""
    targets = run["targets"]
    figure = new_figure("Dense model, first operator to last", "predicted time, ms", "")
    names = dict.fromkeys(row["name"] for t in targets.values() for row in t["operators"])
    seen: set[str] = set()
    for name in names:
        kind = name.rstrip("0123456789 ")
        group = kind if kind in KINDS else "embedding, head and constant"
        ms = [_time_of(name, target) for target in targets.values()]
        figure.add_bar(
            y=[escaped(target).replace("/", "/<br>") for target in targets],
            x=ms,
            orientation="h",
            name=group,
            legendgroup=group,
            showlegend=group not in seen,
            text=[milliseconds(value) for value in ms],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": "white" if kind == "attention" else INK},
            marker={"color": KINDS.get(kind, GREY), "line": {"color": "white", "width": 1}},
            hovertemplate=f"{escaped(name)}: %{{x:.3g}} ms<extra></extra>",
        )
        seen.add(group)
    figure.update_layout(
        barmode="stack",
        hovermode="closest",
        uniformtext={"minsize": 10, "mode": "hide"},
        height=190 + 80 * len(targets),
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def _bars(rows: Sequence[tuple[float, float, float]]) -> dict[str, Any]:
    """Plotly's asymmetric error bars from (value, lower end, upper end)."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [upper - value for value, _, upper in rows],
        "arrayminus": [value - lower for value, lower, _ in rows],
        "thickness": 1.2,
    }


def _time_of(name: str, target: Evidence) -> float:
    return sum(float(row["ms"]) for row in target["operators"] if row["name"] == name)

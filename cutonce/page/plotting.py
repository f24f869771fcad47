"""What every plot shares. Plotly reads markup in its texts, so what users wrote is escaped."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from cutonce.page.text import Html, escaped

BLUE, ORANGE, AMBER, GREEN = "#0b5fa5", "#c2410c", "#e0912f", "#0f766e"
GREY, INK = "#8a94a3", "#1f2933"
WRAP = 12  # operators per line of a hover text


def new_figure(title: str, x: str, y: str) -> go.Figure:
    figure = go.Figure()
    axis = {"gridcolor": "#e4e7eb", "linecolor": GREY, "zeroline": False, "automargin": True}
    figure.update_layout(
        template="none",
        title={"text": escaped(title), "x": 0, "xref": "paper", "font": {"size": 15}},
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        height=440,
        margin={"l": 60, "r": 16, "t": 44, "b": 104},
        # Measured from the bottom edge, so that it wraps on a narrow screen without overlap.
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        paper_bgcolor="white",
        plot_bgcolor="white",
        # A drag scrolls the page instead of zooming by accident.
        dragmode=False,
        xaxis={"title": {"text": x, "standoff": 8}, **axis},
        yaxis={"title": {"text": y}, **axis},
    )
    return figure


def markup(figure: go.Figure, name: str, label: str) -> Html:
    """``figure`` as a part of the page, described by ``label`` for those who cannot see it."""
    drawn = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        config={"displayModeBar": False, "responsive": True},
    )
    return Html(f'<figure role="img" aria-label="{escaped(label)}">\n{drawn}\n</figure>\n')


def wrapped(words: Sequence[str]) -> str:
    lines = (words[start : start + WRAP] for start in range(0, len(words), WRAP))
    return "<br>".join(escaped(" ".join(line)) for line in lines)

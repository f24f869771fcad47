"""The tables of the page, and the sentence above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cutonce.console import limits
from cutonce.page.artifacts import Shown
from cutonce.page.text import (
    Evidence,
    Html,
    bounded,
    breakable,
    escaped,
    interval,
    megabytes,
    milliseconds,
    percent,
    score,
    table,
)
from cutonce.scores import NONE


def verdict(budgets: Sequence[Evidence], unreachable: Sequence[str]) -> str:
    """How many budgets are met, and every one that is not."""
    missed = [budget for budget in budgets if budget["status"] == "missed"]
    total = len(budgets) + len(unreachable)
    if not missed and not unreachable:
        count = f"All {total} budgets are" if total > 1 else "The budget is"
        return f"{count} met."
    parts = [f"{total - len(missed) - len(unreachable)} of {total} budgets met."]
    if missed:
        names = "; ".join(f"{budget['budget']} ({_excess(budget)})" for budget in missed)
        parts.append(f"Missed: {names}.")
    if unreachable:
        parts.append(f"Out of reach of every sub-network: {'; '.join(unreachable)}.")
    return " ".join(parts)


def _excess(budget: Evidence) -> str:
    first = bounded(budget["measured"], budget["bound"]), budget["limit"], "ms"
    further = (
        (some["measured"], some["limit"], some["unit"]) for some in budget.get("further", ())
    )
    measured, limit, unit = max([first, *further], key=lambda one: one[0] / one[1])
    over = f"{measured / limit - 1:.1%} over {milliseconds(limit)} {unit}"
    return f"measured {milliseconds(measured)} {unit}, {over}"


def summary(run: Evidence) -> Html:
    header = (
        "Budget", "Limits", "Predicted [interval], ms", "Measured intrinsic / p50 / p90, ms",
        "Runs within", "Speed-up", "Score, dense", "Score, cut", "Parameters", "Size",
        "Status",
    )  # fmt: skip
    dense = run["dense"]
    rows = [
        (
            breakable(budget["budget"]),
            limits([{**budget, "unit": "ms"}, *budget.get("further", ())]),
            interval(*(budget["predicted"][key] for key in ("ms", "lower", "upper"))),
            quantiles(budget["measured"]),
            percent(budget["within"]),
            f"{budget['speedup']:.2f}×",
            score(dense["metrics"], "report"),
            score(budget["metrics"], "report"),
            millions(budget["parameters"]),
            megabytes(budget["size_bytes"]),
            status(budget["status"]),
        )
        for budget in run["budgets"]
    ]
    return table("Each budget against what was measured", header, rows, texts=(0, 10))


def rounds(budgets: Sequence[Evidence]) -> Html:
    rows = [
        (
            breakable(budget["budget"]),
            number,
            Html(f"<code>{escaped(' '.join(step['chain']))}</code>"),
            milliseconds(step["limit"]),
            interval(step["predicted"], step["lower"], step["upper"]),
            milliseconds(step["measured"]),
            status("met" if step["measured"] <= step["limit"] else "missed"),
        )
        for budget in budgets
        for number, step in enumerate(budget["rounds"], start=1)
    ]
    if not rows:
        return Html("<p>No round was needed: the dense model meets every budget.</p>")
    header = (
        "Budget", "Round", "Network", "Limit, ms", "Predicted [interval], ms", "Measured, ms",
        "Status",
    )  # fmt: skip
    return table("Every network that was decoded and measured", header, rows, texts=(0, 2, 6))


def proofs(artifacts: Sequence[Shown]) -> Html:
    if not artifacts:
        return Html(
            "<p>Nothing has been exported from this run yet; "
            "<code>cutonce export RUN/subnets/NAME</code> makes an artifact.</p>"
        )
    header = (
        "Artifact", "Target", "Parity", "Largest error / scale", "Least cosine",
        "Least agreement", "Cases judged", "Measured intrinsic / p50 / p90, ms", "Limits", "Budget",
        "Score, file",
    )  # fmt: skip
    whole = [shown for shown in artifacts if shown.reports is not None]
    rows = [_proof(shown.name, shown.target, shown.reports or {}) for shown in whole]
    parts = (
        [table("What the exported files proved", header, rows, texts=(0, 1, 2, 9))] if rows else []
    )
    parts += [
        Html(f"<p>Artifact {escaped(shown.name)} cannot be shown: {escaped(shown.fault)}</p>")
        for shown in artifacts
        if shown.reports is None
    ]
    return Html("\n".join(parts))


def _proof(name: str, target: str, reports: Mapping[str, Any]) -> tuple[object, ...]:
    parity, latency = reports.get("parity") or {}, reports.get("latency") or {}
    judged = [case for case in parity.get("cases", ()) if case.get("judged", True)]
    cosines = [case["cosine"] for case in judged if case.get("cosine") is not None]
    errors = [case["max_error"] for case in judged if case.get("max_error") is not None]
    agreements = [case["agreement"] for case in judged if case.get("agreement") is not None]
    passed = parity.get("passed")
    scale, kept = parity.get("scale"), latency.get("limits", ())
    return (
        breakable(name),
        breakable(target),
        status(NONE if passed is None else "passed" if passed else "failed"),
        f"{max(errors) / scale:.1e}" if errors and scale else NONE,
        f"{min(cosines):.6f}" if cosines else NONE,
        percent(min(agreements, default=None)),
        f"{len(judged)} of {len(parity.get('cases', ()))}",
        quantiles(latency) if "intrinsic" in latency else NONE,
        limits(kept) or NONE,
        status(("met" if all(some["met"] for some in kept) else "missed") if kept else NONE),
        score({"report": reports.get("metrics")}, "report"),
    )


def pairs(caption: str, rows: Mapping[str, object]) -> Html:
    """A table of two columns: a name and its value."""
    return table(caption, ("Property", "Value"), [*rows.items()], texts=(0, 1))


def status(word: str) -> Html:
    """A state, in words and in colour."""
    kind = {"missed": "bad", "failed": "bad", NONE: "unknown"}.get(word, "good")
    return Html(f'<span class="{kind}">{escaped(word)}</span>')


def quantiles(statistics: Mapping[str, Any]) -> str:
    return " / ".join(milliseconds(statistics[key]) for key in ("intrinsic", "p50", "p90"))


def millions(count: int) -> str:
    return f"{count / 1e6:,.1f} M" if count >= 1e6 else f"{count:,}"

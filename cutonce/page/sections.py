"""The page from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cutonce.page import figures, tables
from cutonce.page.artifacts import Shown
from cutonce.page.front import front, quality_axis
from cutonce.page.kept import kept
from cutonce.page.plotting import markup
from cutonce.page.text import Evidence, Html, escaped, percent, section


def title(run: Evidence) -> Html:
    return escaped(f"cutonce: {Path(run['source']).name}")


def body(run: Evidence, artifacts: Sequence[Shown]) -> Html:
    """Everything inside <main>. Raises the errors of looking up what ``run`` does not hold."""
    parts = (
        _head(run),
        section("Budgets", _QUANTITIES, tables.summary(run), _dense(run)),
        _fronts(run),
        _predictions(run),
        section("Time per operator", _OPERATORS, _drawn_operators(run)),
        section("What stayed", _KEPT, kept(run)),
        section("Rounds of feedback", _ROUNDS, tables.rounds(run["budgets"])),
        section("Exported artifacts", _PROOFS, tables.proofs(artifacts)),
        section("Warnings", "", _warnings(run["warnings"])),
        _machines(run),
        _making(run),
    )
    return Html("".join(parts))


_QUANTITIES = (
    "The intrinsic latency is what the model costs when nothing disturbs it; p50 and p90 are of all "
    "runs, disturbed or not. A budget bounds what is named beside its limit. Predictions are of the "
    "intrinsic latency. The score is on the report split, which the search never looked at."
)
_OPERATORS = (
    "Predicted time of the dense model's sub-layers in order: each segment is one of them. "
    "Point at a segment for its name."
)
_KEPT = "The fuller the shade, the larger the share of the dense sub-layer; – is a dropped one."
_ROUNDS = (
    "Each network was decoded from predictions, exported and measured beside the dense model; the "
    "ratio of limit to measurement moved what the next one was allowed. Measured is the quantile "
    "that the budget bounds, and a limit relative to the dense model is relative to it there."
)
_PROOFS = (
    "Each file was reloaded in a fresh process and compared with its encoder, over the cases that "
    "its precision is judged on; the score is the file's own on the report split."
)


def _head(run: Evidence) -> Html:
    verdict = escaped(tables.verdict(run["budgets"], run["unreachable"]))
    return Html(f'<header>\n<h1>{title(run)}</h1>\n<p class="verdict">{verdict}</p>\n</header>\n')


def _dense(run: Evidence) -> Html:
    dense = run["dense"]
    sizes = f"{tables.millions(dense['parameters'])} parameters"
    times = "; ".join(
        f"{tables.quantiles(measured)} ms on {target}"
        for target, measured in dense["measured"].items()
    )
    measured = f"measured intrinsic / p50 / p90 {escaped(times)}"
    return Html(f"<p>Dense model: {escaped(sizes)}; {measured}.</p>")


def _fronts(run: Evidence) -> Html:
    axis, _, _ = quality_axis(run)
    note = (
        f"Every network that was evaluated, before distillation: {axis} against predicted latency. "
        "Dotted lines are budgets. Where the axis is the task's score, diamonds are the chosen "
        "networks as shipped, after distillation."
    )
    plots = [
        markup(front(run, target), f"front-{index}", f"{axis} against latency on {target}")
        for index, target in enumerate(run["targets"])
    ]
    return section("Fronts", note, *plots)


def _predictions(run: Evidence) -> Html:
    parts: list[Html] = []
    for index, (name, target) in enumerate(run["targets"].items()):
        profile = target["profile"]
        label = f"Predicted against measured latency on {name}"
        parts += [
            markup(figures.predictions(name, target), f"predictions-{index}", label),
            Html(
                f"<p>{escaped(name)}: {profile['measurements']} encoders profiled; median error "
                f"{percent(profile['error'])} on one left out; intervals meant to hold "
                f"{profile['coverage']:.0%} of new measurements.</p>\n"
            ),
        ]
    note = "Candidates were predicted first and measured afterwards; bars are intervals."
    return section("Predicted against measured", note, *parts)


def _drawn_operators(run: Evidence) -> Html:
    return markup(figures.operators(run), "operators", "Time per operator of the dense model")


def _warnings(warnings: Sequence[str]) -> Html:
    if not warnings:
        return Html("<p>There were no warnings.</p>")
    items = "\n".join(f"<li>{escaped(sentence)}</li>" for sentence in warnings)
    return Html(f"<ul>\n{items}\n</ul>")


def _machines(run: Evidence) -> Html:
    machines = [tables.pairs(f"Device {name}", _machine(m)) for name, m in run["machines"].items()]
    versions = tables.pairs("Versions of the machine that searched", run["versions"])
    return section("Machines and versions", "", *machines, versions)


def _machine(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    def listed(key: str, write: Any = " ".join) -> str:
        return ", ".join(write(entry) for entry in fingerprint[key]) or "unknown"

    return {
        "CPU": fingerprint["cpu"],
        "Cores": f"{fingerprint['cores']} physical, {fingerprint['logical']} logical",
        "Instruction sets": " ".join(fingerprint["flags"]) or "unknown",
        "Caches": listed("caches", lambda cache: f"{cache[0]} {cache[1] / 2**20:,.3g} MiB"),
        "Memory": f"{fingerprint['memory_bytes'] / 2**30:,.1f} GiB",
        "GPU": fingerprint["gpu"] or "none",
        "Operating system": fingerprint["os"],
        "Virtual machine": "yes" if fingerprint["hypervisor"] else "no",
        "Clock policy": fingerprint["clock_policy"],
        "Runtimes": listed("runtimes"),
    }


def _making(run: Evidence) -> Html:
    workload = run["workload"]
    rows: dict[str, object] = {
        "Dense model": run["source"],
        "Workload": f"batch {workload['batch']} × length {workload['length']}",
        "Seed": run["seed"],
        "Made": f"{run['created']} with cutonce {run['cutonce']}",
    }
    for key, value in (run["task"] or {}).items():
        if key != "schema" and value is not None:
            rows[f"Task: {key.replace('_', ' ')}"] = _plain(value)
    return section("How it was made", "", tables.pairs("Inputs of the search", rows))


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)

"""The report page: what it says, that it is self-contained, and that a browser draws it."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cutonce.page import render
from cutonce.page.kept import fraction
from cutonce.page.text import milliseconds, table
from deploy.architecture import uniform
from deploy.exporters import Exported
from deploy.manifest import build_manifest
from deploy.workload import Workload
from devices.errors import DataError, MissingDependency
from devices.files import write_json
from devices.target import Target

pytest.importorskip("plotly", reason='the report needs plotly: pip install "cutonce[report]"')

ONNX, VINO = "local/onnxruntime/fp32@2", "local/openvino/int8@2"
DENSE = ["A12", "F3072"] * 6
HOSTILE = "<script>alert('label')</script>"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PLOTS = 5  # a front and a prediction plot for each of two targets, and the operators


def statistics(intrinsic: float) -> dict[str, Any]:
    interval = [0.99 * intrinsic, 1.012 * intrinsic]
    return {
        "intrinsic": intrinsic, "p50": 1.03 * intrinsic, "p90": 1.11 * intrinsic, "interval": interval,
        "visits": 9, "runs": 45,
    }  # fmt: skip


def predicted(chain: list[str]) -> dict[str, dict[str, float]]:
    cost = 1.5 + sum(
        0.21 * int(op[1:]) if op[0] == "A" else 0.0014 * int(op[1:]) for op in chain if op != "-"
    )
    ms = {ONNX: cost, VINO: 0.45 * cost}
    return {t: {"lower": 0.96 * v, "predicted": v, "upper": 1.05 * v} for t, v in ms.items()}


def cut(share: float, seed: int) -> list[str]:
    rng = random.Random(seed)
    chain = []
    for op in DENSE:
        kept = round(int(op[1:]) * min(1.0, share * rng.uniform(0.5, 1.4)) / 2) * 2
        chain.append("-" if rng.random() > 0.6 + 0.4 * share or not kept else f"{op[0]}{kept}")
    return chain


def evaluated(chain: list[str], source: str) -> dict[str, Any]:
    ms = predicted(chain)
    lost = 1 - ms[ONNX]["predicted"] / predicted(DENSE)[ONNX]["predicted"]
    return {
        "chain": chain, "kl": 0.8 * lost**2, "score": 0.91 - 0.3 * lost**2, "ms": ms,
        "source": source,
    }  # fmt: skip


def budget(text: str, chain: list[str], slack: float, status: str) -> dict[str, Any]:
    target, _, limit = text.partition("=")
    ms = predicted(chain)[target]
    measured = statistics(1.01 * ms["predicted"])
    allowed = measured["intrinsic"] * slack
    bound = "p90" if limit.endswith("p90") else "intrinsic"
    bounded = measured["p90" if bound == "p90" else "intrinsic"]
    step = {"chain": chain, "limit": allowed, **ms, "measured": bounded}
    first = {**step, "measured": 1.07 * bounded}
    return {
        "budget": text, "name": text.replace("/", "-").replace("=", "-"), "target": target,
        "limit": allowed, "bound": bound,
        "status": status, "subnet": "subnets/x", "chain": chain,
        "architecture": uniform(6, 768, 12, 3072, labels=2).to_json(),
        "parameters": 41_234_567, "size_bytes": 164_938_268,
        "predicted": {"lower": ms["lower"], "ms": ms["predicted"], "upper": ms["upper"]},
        "measured": measured, "within": 0.97, "speedup": 1.42,
        "metrics": {"search": {"accuracy": 0.884}, "report": {"accuracy": 0.879}},
        "rounds": [] if status == "dense meets it" else [first, step],
    }  # fmt: skip


def target_evidence(target: str) -> dict[str, Any]:
    rng = random.Random(target)
    ms = [predicted(cut(0.2 + 0.05 * index, index))[target] for index in range(14)]
    names = ["embedding and constant"]
    names += [f"{kind} {n}" for n in range(1, 7) for kind in ("attention", "feed-forward")]
    return {
        "profile": {"measurements": 14, "error": 0.017, "coverage": 0.9},
        "loo": [
            {"label": f"H768[A{index}]", "measured": v["predicted"] * rng.uniform(0.97, 1.03),
             "predicted": v["predicted"]}
            for index, v in enumerate(ms)
        ],
        "checked": [
            {"label": f"H768[A{index} F640 {HOSTILE}]", **v, "measured": 1.01 * v["predicted"],
             "interval": [v["predicted"], 1.03 * v["predicted"]]}
            for index, v in enumerate(ms[5:9])
        ],
        "operators": [{"name": name, "ms": rng.uniform(0.8, 4.0)} for name in [*names, "head"]],
    }  # fmt: skip


def run_json() -> dict[str, Any]:
    """The evidence of a search for three budgets on two targets, one of them missed."""
    chains = [cut(0.15 + 0.07 * index, index) for index in range(11)]
    return {
        "schema": 1, "cutonce": "0.1.0", "source": f"models/{HOSTILE}",
        "created": "2025-03-01T12:00:00+00:00", "seed": 7, "workload": {"batch": 1, "length": 128},
        "task": {
            "schema": 1, "kind": "text-classification", "data": "train.tsv", "text": "sentence",
            "label": "label", "eval": "dev.tsv", "sizes": {"train": 800, "search": 100},
            "label_names": ["good", HOSTILE],
        },
        "machines": {
            "local": {
                "cpu": "Example CPU at 2.5 GHz", "flags": ["avx2", "avx512_vnni"], "cores": 2,
                "logical": 4, "caches": [["L2", 2097152], ["L3", 33554432]],
                "memory_bytes": 16 * 2**30, "gpu": None, "os": "Linux 6.1", "hypervisor": True,
                "clock_policy": "unknown", "runtimes": [["torch", "2.13.0"]],
            }
        },
        "versions": {"torch": "2.13.0", "numpy": "2.4.0"},
        "dense": {
            "architecture": uniform(6, 768, 12, 3072, labels=2).to_json(), "chain": DENSE,
            "parameters": 66_955_010,
            "metrics": {"search": {"accuracy": 0.91}, "report": {"accuracy": 0.905}},
            "measured": {ONNX: statistics(42.5), VINO: statistics(19.1)},
        },
        "targets": {ONNX: target_evidence(ONNX), VINO: target_evidence(VINO)},
        "evaluated": [evaluated(DENSE, "dense"), *(evaluated(c, "front") for c in chains)],
        "budgets": [
            budget(f"{ONNX}=0.7x", chains[7], 1.02, "met"),
            budget(f"{ONNX}=0.4x:p90", chains[3], 1.15, "met"),
            budget(f"{VINO}=0.2x", chains[2], 0.9, "missed"),
        ],
        "unreachable": [],
        "warnings": ["The clock moved <during> the campaign."],
    }  # fmt: skip


def parity() -> dict[str, Any]:
    def case(name: str, cosine: float, judged: bool) -> dict[str, Any]:
        return {
            "name": name, "rows": 8, "max_error": 2 * (1 - cosine), "cosine": cosine,
            "agreement": None if name == "random" else 0.984, "judged": judged, "passed": True,
        }  # fmt: skip

    cases = [case("random", 0.5, False), case("real", 0.998, True)]
    return {"schema": 1, "passed": True, "scale": 4.0, "precision": "int8", "cases": cases}


def add_artifact(run: Path, name: str, reports: dict[str, Any]) -> Path:
    place = run / "artifacts" / name
    (place / "openvino").mkdir(parents=True)
    model = place / "openvino" / "openvino_model_int8.xml"
    model.write_text("<net/>")
    for key, report in reports.items():
        write_json(place / "reports" / f"{key}.json", report)
    manifest = build_manifest(
        place, architecture=uniform(6, 768, 12, 3072, labels=2), label_names=("a", "b"),
        target=Target.parse(VINO), workload=Workload(), source="x", max_length=128,
        exported=Exported(model, (model,), place),
    )  # fmt: skip
    write_json(place / "manifest.json", manifest)
    return place


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with one whole and one damaged artifact."""
    path = tmp_path / "run"
    write_json(path / "run.json", run_json())
    latency = {**statistics(6.35), "target": VINO}
    latency["limits"] = [{"limit": 6.0, "unit": "ms", "bound": "intrinsic", "met": False}]
    reports = {"parity": parity(), "latency": latency, "metrics": {"accuracy": 0.8765}}
    add_artifact(path, "whole", reports)
    (add_artifact(path, "broken", reports) / "manifest.json").write_text("{")
    (path / "artifacts" / ".whole.unfinished").mkdir()
    return path


def changed(run: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    data = json.loads((run / "run.json").read_text())
    change(data)
    write_json(run / "run.json", data)
    return run


class Reader(HTMLParser):
    """Visible text, tag stack and everything that a browser would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.parts: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style", "title"} & set(self.open):
            self.parts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.parts))


def row_of(page: str, heading: str, name: str) -> list[str]:
    """Texts of the cells of the first row below ``heading`` that begins with ``name``."""
    part = page[page.index(f"<h2>{heading}</h2>") :]
    for row in re.findall(r"<tr>(.*?)</tr>", part, flags=re.DOTALL):
        cells = [re.sub(r"<.*?>", "", c) for c in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        if cells[0] == name:
            return cells
    raise LookupError(name)


def test_sections_come_in_the_order_of_a_reader(run: Path) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", render(run))
    assert headings == [
        "Budgets", "Fronts", "Predicted against measured", "Time per operator", "What stayed",
        "Rounds of feedback", "Exported artifacts", "Warnings", "Machines and versions",
        "How it was made",
    ]  # fmt: skip


def test_verdict_names_the_missed_budget_and_by_how_much(run: Path) -> None:
    text = Reader(render(run)).text
    assert f"2 of 3 budgets met. Missed: {VINO}=0.2x (measured" in text
    assert "11.1% over" in text


def test_verdict_when_all_are_met(run: Path) -> None:
    page = render(changed(run, lambda data: data["budgets"].pop()))
    assert "All 2 budgets are met." in Reader(page).text


def test_p90_budget_is_judged_by_its_p90(run: Path) -> None:
    def miss(data: dict[str, Any]) -> None:
        row = data["budgets"][1]
        row.update(status="missed", limit=row["measured"]["p90"] / 1.25)

    assert "25.0% over" in Reader(render(changed(run, miss))).text


def test_budget_table_holds_prediction_measurement_and_accuracy(run: Path) -> None:
    cells = row_of(render(run), "Budgets", f"{ONNX}=0.7x")
    expected = run_json()["budgets"][0]
    ms = expected["predicted"]
    assert cells[2] == "{} [{}, {}]".format(
        *(milliseconds(ms[k]) for k in ("ms", "lower", "upper"))
    )
    assert cells[3].startswith(milliseconds(expected["measured"]["intrinsic"]) + " / ")
    assert cells[4:] == [
        "97.0%", "1.42×", "90.5%", "87.9%", "41.2 M", "164.9 MB", "met",
    ]  # fmt: skip


def test_task_without_labels_shows_agreement(run: Path) -> None:
    def unlabelled(data: dict[str, Any]) -> None:
        data["dense"]["metrics"]["report"] = None
        data["budgets"][0]["metrics"]["report"] = {"agreement": 0.953, "n": 100}

    cells = row_of(render(changed(run, unlabelled)), "Budgets", f"{ONNX}=0.7x")
    assert cells[6:8] == ["–", "95.3% agree"]


def test_front_is_drawn_in_accuracy_when_every_network_has_one(run: Path) -> None:
    page = render(run)
    assert "accuracy on the search split against predicted latency" in page
    assert "as shipped" in page


def test_front_falls_back_to_kl_when_one_accuracy_is_missing(run: Path) -> None:
    page = render(changed(run, lambda data: data["evaluated"][3].update(score=None)))
    assert "KL from dense (nats) against predicted latency" in page
    assert '"name":"as shipped"' not in page


def test_dropped_and_kept_positions(run: Path) -> None:
    page = render(run)
    cells = row_of(page, "What stayed", f"{VINO}=0.2x")
    chain = run_json()["budgets"][2]["chain"]
    assert cells[1:] == ["–" if op == "-" else op for op in chain]
    assert "–" in cells
    assert fraction("A4", "A12") == pytest.approx(1 / 3)


def test_rounds_say_which_measurement_fits(run: Path) -> None:
    page = render(run)
    first = row_of(page, "Rounds of feedback", f"{ONNX}=0.7x")
    assert first[1] == "1"
    assert first[-1] == "missed"
    assert first[2] == " ".join(run_json()["budgets"][0]["chain"])


def test_dense_that_meets_every_budget_needs_no_round(run: Path) -> None:
    def dense(data: dict[str, Any]) -> None:
        data["budgets"] = [budget(f"{ONNX}=60ms", DENSE, 1.2, "dense meets it")]

    text = Reader(render(changed(run, dense))).text
    assert "The budget is met." in text
    assert "No round was needed" in text


def test_artifact_row_judges_by_the_cases_that_count(run: Path) -> None:
    cells = row_of(render(run), "Exported artifacts", "whole")
    assert cells[1:7] == [VINO, "passed", "1.0e-03", "0.998000", "98.4%", "1 of 2"]
    assert cells[7:] == ["6.35 / 6.54 / 7.05", "6 ms", "missed", "87.6%"]


def test_damaged_artifact_is_listed_and_unfinished_is_not(run: Path) -> None:
    text = Reader(render(run)).text
    assert "Artifact broken cannot be shown:" in text
    assert "unfinished" not in text


def test_run_without_artifacts_says_how_to_make_one(run: Path) -> None:
    shutil.rmtree(run / "artifacts")
    assert "cutonce export RUN/subnets/NAME" in Reader(render(run)).text


def test_warnings_or_a_plain_sentence(run: Path) -> None:
    assert "The clock moved <during> the campaign." in Reader(render(run)).text
    page = render(changed(run, lambda data: data["warnings"].clear()))
    assert "There were no warnings." in Reader(page).text


def test_text_from_outside_stays_text(run: Path) -> None:
    page = render(run)
    assert HOSTILE not in page
    assert Reader(page).text.count(HOSTILE) >= 2


def test_page_loads_nothing_and_is_well_formed(run: Path) -> None:
    page = render(run)
    reader = Reader(page)
    assert reader.open == []
    assert reader.loads == []
    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(reader.tags)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert page.count("plotly.js v") == 1


def test_same_run_gives_the_same_page(run: Path) -> None:
    assert render(run) == render(run)


def test_unfinished_run_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no finished search"):
        render(tmp_path)


@pytest.mark.parametrize("key", ["budgets", "targets", "dense", "machines", "workload"])
def test_damaged_run_is_a_data_error(run: Path, key: str) -> None:
    with pytest.raises(DataError, match=r"run\.json is damaged .*another --out"):
        render(changed(run, lambda data: data.pop(key)))


def test_missing_plotly_names_the_pip_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("plotly", "cutonce.page."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("cutonce.page.sections", raising=False)
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(MissingDependency, match=r'pip install "cutonce\[report\]"'):
        render(run)


def test_cells_escape_unless_they_are_markup() -> None:
    assert '<td class="number">&lt;b&gt;</td>' in table("c", ("a", "b"), [("x", "<b>")])


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (99.96, "100.0"), (12.34, "12.3"), (0.01234, "0.012")]
)
def test_milliseconds(value: float, text: str) -> None:
    assert milliseconds(value) == text


def test_a_browser_draws_every_plot(run: Path, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    page = tmp_path / "report.html"
    page.write_text(render(run), encoding="utf-8")
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--disable-dev-shm-usage", "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000",
            "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    dom = done.stdout[done.stdout.index("<body>") :]
    assert dom.count('class="plot-container plotly"') == PLOTS
    drawn = [part for part in dom.split("<figure ")[1:] if 'class="main-svg"' in part]
    assert len(drawn) == PLOTS
    assert dom.count('class="point"') > 50
    assert "Uncaught" not in done.stderr
    assert "CONSOLE" not in done.stderr

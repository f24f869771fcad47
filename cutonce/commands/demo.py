"""The whole path in minutes, offline: train, profile, search, export, verify, report.

The task is real and made on the spot: which package of Python's standard library a docstring paragraph
belongs to. A small dense BERT is trained on it here, two runtimes are profiled, on this machine or on the
device that --device names, and the model is cut to 0.7 and 0.5 of its own latency on each.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cutonce.console import interval, limits, progress, show_table, talk
from cutonce.console import show as say

SHAPE = "L4-H192-A4-F768"
VOCABULARY = 6000
MAX_LENGTH = 64
LENGTH = 64
DENSE_EPOCHS = 9.0
CUT_EPOCHS = 0.5
ROUNDS = 3
VISITS = 15  # fewer than usual: everything is judged beside the dense model, in one campaign
RUNTIMES = ("onnxruntime", "openvino")
FRACTIONS = (0.7, 0.5)
POINTS = 0.03  # of accuracy that a sub-network may lose


def demo(
    *,
    device: str = "local",
    out: str | Path = Path("cutonce-demo"),
    store: str | Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Run everything in ``out``; interrupted, the same call goes on where it stopped.

    Args:
        device: that is profiled, searched for and verified on, as ``ssh:NAME``; it needs the runtimes.
    """
    from cutonce.commands.export import export
    from cutonce.commands.report import report
    from cutonce.commands.search import search
    from cutonce.commands.train import train
    from cutonce.commands.verify import verify
    from devices.device import open_device

    open_device(device).fingerprint()  # before anything that takes long, says if it is not there
    out = Path(out)
    kept = store or out / "measurements.sqlite"
    files = _make_data(out / "data", seed)
    columns: dict[str, Any] = {
        "data": files["train"],
        "text": "text",
        "label": "package",
        "evaluation": files["report"],
    }
    baselines = _baselines(files)
    talk(f"1/5 training the dense model ({SHAPE})")
    dense = out / "dense"
    if not (dense / "config.json").exists():
        train(
            SHAPE,
            recipe="dense",
            tokenizer=files["tokenizer"],
            **columns,
            max_length=MAX_LENGTH,
            epochs=DENSE_EPOCHS,
            learning_rate=7e-4,
            out=dense,
            seed=seed,
        )
    talk("2/5 profiling and searching")
    run = out / "run"
    found = search(
        dense,
        budgets=[
            f"{device}/{runtime}/fp32={share}x" for runtime in RUNTIMES for share in FRACTIONS
        ],
        **columns,
        max_length=MAX_LENGTH,
        length=LENGTH,
        epochs=CUT_EPOCHS,
        rounds=ROUNDS,
        visits=VISITS,
        store=kept,
        out=run,
        seed=seed,
    )
    talk("3/5 exporting")
    artifacts = []
    for entry in found["budgets"]:
        directory = run / "artifacts" / entry["name"]
        if not directory.exists():
            export(run / entry["subnet"], visits=VISITS, store=kept, seed=seed)
        artifacts.append(directory)
    talk("4/5 verifying")
    checked = verify(artifacts, visits=VISITS, store=kept, seed=seed)
    talk("5/5 writing the report")
    page = report(run)["page"]
    return {"baselines": baselines, "search": found, "verify": checked, "report": page}


def _make_data(directory: Path, seed: int) -> dict[str, Path]:
    from cutonce.example.corpus import collect, split, write
    from cutonce.example.tokenizer import train_tokenizer
    from devices.files import whole_directory

    if not directory.exists():
        with (
            progress("collecting docstrings of the standard library"),
            whole_directory(directory) as new,
        ):
            rest, held_out = split(collect(), share=0.2, seed=seed)
            write(rest, new / "train.csv")
            write(held_out, new / "report.csv")
            texts = (paragraph.text for paragraph in rest)
            train_tokenizer(texts, VOCABULARY, new / "tokenizer", MAX_LENGTH)
    return {
        "train": directory / "train.csv",
        "report": directory / "report.csv",
        "tokenizer": directory / "tokenizer",
    }


def _baselines(files: dict[str, Path]) -> dict[str, float]:
    """Accuracy on the report split without a neural network: scikit-learn's defaults."""
    from sklearn.dummy import DummyClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from deploy.datafiles import read_table

    train, held_out = read_table(files["train"]), read_table(files["report"])
    models = {
        "majority": DummyClassifier(),
        "tf-idf + logistic regression": make_pipeline(
            TfidfVectorizer(), LogisticRegression(max_iter=1000)
        ),
    }
    return {
        name: float(
            model.fit(train["text"], train["package"]).score(held_out["text"], held_out["package"])
        )
        for name, model in models.items()
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("cutonce-demo"), help="where everything is put"
    )
    parser.add_argument("--store", type=Path, help="measurement store (default: one in --out)")
    parser.add_argument(
        "--device", default="local", help="that the model is cut for (default local)"
    )


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = demo(device=args.device, out=args.out, store=args.store, seed=args.seed)
    return result, 0 if result["verify"]["holds"] else 3


def show(result: dict[str, Any]) -> None:
    found = result["search"]
    dense = found["dense"]["metrics"]["report"]["accuracy"]
    others = ", ".join(f"{name} {value:.1%}" for name, value in result["baselines"].items())
    say(f"Dense model {dense:.1%}; {others}.")
    rows = []
    for entry, checked in zip(found["budgets"], result["verify"]["artifacts"], strict=True):
        numbers, predicted = checked["measured"], entry["predicted"]
        rows.append(
            (
                f"{entry['budget']} ≤ {limits(checked['limits'])}",
                f"{predicted['ms']:.3g} {interval(predicted['lower'], predicted['upper'])}",
                " / ".join(f"{numbers[key]:.3g}" for key in ("intrinsic", "p50", "p90")),
                f"{checked['speedup']:.2f}×",
                f"{dense:.1%} → {checked['metrics']['accuracy']:.1%}",
                f"{entry['dense_size_bytes'] / 2**20:.1f} → {entry['size_bytes'] / 2**20:.1f} MB",
                "met" if checked.get("budget_met") else "MISSED",
            )
        )
    header = (
        "budget",
        "predicted ms",
        "intrinsic / p50 / p90 ms",
        "speed-up",
        "accuracy",
        "size",
        "verified",
    )
    show_table("Measured on the exported artifacts", header, rows)
    for row in result["verify"]["artifacts"]:
        for fault in row["faults"]:
            talk(f"{row['artifact']}: {fault}")
    worst = min(row["metrics"]["accuracy"] for row in result["verify"]["artifacts"])
    verdict = "PASS" if worst >= dense - POINTS else "MISS"
    say(f"Every sub-network within {100 * POINTS:.0f} points of the dense model: {verdict}")
    say(f"Report: {result['report']}")

"""Many targets and budgets of a real model in one search, beside a search for each of them.

    python benchmarks/search_run.py --data DIR [--out DIR] [--runs 5] [--json FILE]

DIR (or CUTONCE_DATA) holds trec and vocab_bert_uncased. A dense 6-layer hidden-256 BERT is trained on
TREC and cut without further training, by `cutonce search`, for 3 targets x 4 budgets: in one run, then
in 12 runs of one budget. Then in more runs of 12 budgets, until there are --runs of them. Budgets are
fractions of the dense model's latency drawn at run time. Every sub-network is exported, and 10 minutes
after the last was searched and exported all are measured again by `cutonce verify`. Prints PASS or MISS
per target:

- one run for all evaluates at most twice as many networks as a run for one;
- the optimiser takes at most 5 % of the search;
- 95 % of the exports keep their budget when measured again, of which they use 93 % on average.

Regret needs the optimum, which benchmarks/search.py has; here the losses of both ways are printed.
Interrupted, the same call with the same --out goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Row, cutonce, drawn_seed, machine, verdict
from dense_models import prepare, trec

TARGETS = ("local/onnxruntime/fp32", "local/onnxruntime/int8", "local/openvino/fp32")
FRACTIONS = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.65), (0.65, 0.8))  # of the dense model's latency
LENGTH = "64"
TIMES, SHARE = 2.0, 0.05  # a single run's evaluations; of the search, what the optimiser may take
LATER = 600.0  # seconds, after which the exports are measured again
KEPT, USED = 0.95, 0.93


def main() -> int:
    args = parse()
    print(machine())
    bench = Bench(args.data, args.out)
    bench.profile()
    together = bench.search("run-0", drawn_budgets(bench.seed))
    alone = [
        bench.search(f"alone-{number}", [entry["budget"]])
        for number, entry in enumerate(together["budgets"])
    ]
    rows = compared(together, alone)
    runs = [together]
    for number in range(1, args.runs):
        runs.append(bench.search(f"run-{number}", drawn_budgets(bench.seed + number)))
    artifacts = bench.export(runs)
    rows += judged(bench.verify(artifacts))
    return verdict(rows, args.json, runs=runs, alone=alone)


def drawn_budgets(seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [f"{target}={rng.uniform(*some):.3f}x" for target in TARGETS for some in FRACTIONS]


class Bench:
    """The public commands on one model; what ended is not run again."""

    def __init__(self, data: Path, out: Path) -> None:
        self.out, self.seed = out, drawn_seed(out)
        prepare("trec", data, out, self.seed, False)
        self._dense = str(out / "trec" / "dense")
        self._task: list[str] = []
        described = trec(data, out / "trec") | {"eval": out / "trec" / "report.csv"}
        for name in ("data", "text", "label", "eval"):
            self._task += [f"--{name}", str(described[name])]
        self._store = ["--store", str(out / "measurements.sqlite")]
        print(f"seed drawn at run time: {self.seed}")

    def profile(self) -> None:
        around = ["--around", self._dense, "--length", LENGTH, *self._store]
        self._kept("profile", partial(cutonce, "profile", *TARGETS, *around))

    def search(self, name: str, budgets: Sequence[str]) -> Any:
        """What `cutonce search` found, and the seconds that it took."""
        asked = [word for budget in budgets for word in ("--budget", budget)]
        command = ["search", self._dense, *asked, *self._task, *self._store]
        command += ["--post-training", "--length", LENGTH, "--max-length", LENGTH]
        command += ["--seed", str(self.seed), "--out", str(self.out / name)]
        found = self._kept(name, partial(cutonce, *command))
        counted = found["search"]
        print(
            f"{name}: {len(found['budgets'])} budgets in {found['took']:.0f} s, "
            f"{counted['evaluations']} networks evaluated, decoding {counted['seconds']:.1f} s of which "
            f"evaluating {counted['evaluating_seconds']:.1f} s",
            flush=True,
        )
        return found

    def export(self, runs: Sequence[Any]) -> list[str]:
        """The artifacts of all sub-networks of the runs."""
        places = []
        for number, run in enumerate(runs):
            for entry in run["budgets"]:
                command = [
                    "export",
                    str(self.out / f"run-{number}" / entry["subnet"]),
                    *self._store,
                ]
                made = self._kept(f"export-{number}-{entry['name']}", partial(cutonce, *command))
                places.append(made["artifact"])
        return places

    def verify(self, artifacts: Sequence[str]) -> Any:
        """All measured again, long after the last was."""
        last = max(path.stat().st_mtime for path in (self.out / "results").glob("[re]*.json"))
        time.sleep(max(0.0, last + LATER - time.time()))
        return self._kept("verify", partial(cutonce, "verify", *artifacts, *self._store))

    def _kept(self, name: str, run: Any) -> Any:
        path = self.out / "results" / f"{name}.json"
        if not path.exists():
            done = run()
            if done.code not in (0, 3):
                raise SystemExit(f"{name} failed with exit code {done.code}")
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps({**done.result, "took": done.seconds}))
        return json.loads(path.read_text())


def compared(together: Any, alone: Sequence[Any]) -> list[Row]:
    """One run for all beside one for each."""
    singles = [single["budgets"][0] for single in alone]
    for entry, single in zip(together["budgets"], singles, strict=True):
        print(
            f"{entry['budget']}: KL {loss(entry):.5f} in one run, {loss(single):.5f} alone; score "
            f"{score(entry):.4f}, {score(single):.4f}; speed-up {entry['speedup']:.2f}, "
            f"{single['speedup']:.2f}"
        )
    ratios = [
        loss(entry) / loss(single)
        for entry, single in zip(together["budgets"], singles, strict=True)
    ]
    points = [
        score(entry) - score(single)
        for entry, single in zip(together["budgets"], singles, strict=True)
    ]
    print(
        f"KL in one run over alone, geometric mean: {np.exp(np.mean(np.log(ratios))):.2f}; score "
        f"{100 * np.mean(points):+.2f} points"
    )
    counts = [single["search"]["evaluations"] for single in alone]
    times = together["search"]["evaluations"] / np.mean(counts)
    seconds = together["took"], sum(single["took"] for single in alone)
    counted = together["search"]
    share = (counted["seconds"] - counted["evaluating_seconds"]) / together["took"]
    text = (
        f"{together['search']['evaluations']} against {np.mean(counts):.0f}, {times:.2f} times; "
        f"{seconds[0]:.0f} s against {seconds[1]:.0f} s for {len(alone)} runs"
    )
    return [
        ("evaluations of one run for all", text, times <= TIMES),
        ("the optimiser's share of the search", f"{100 * share:.1f} %", share <= SHARE),
    ]


def loss(entry: Any) -> float:
    return float(entry["certificate"]["loss"])


def score(entry: Any) -> float:
    return float(entry["metrics"]["report"]["accuracy"])


def judged(verified: Any) -> list[Row]:
    """How the exports did when they were measured again."""
    limits = [row["limits"][0] for row in verified["artifacts"]]
    used = np.array([some["measured"] / some["limit"] for some in limits])
    kept = float(np.mean(used <= 1))
    print(f"share of the budget used: {', '.join(f'{some:.3f}' for some in sorted(used))}")
    others = [row for row in verified["artifacts"] if not row["parity"]["passed"]]
    return [
        (
            f"{len(used)} exports measured again",
            f"{100 * kept:.0f} % keep their budget",
            kept >= KEPT,
        ),
        ("share of the budget used", f"{100 * used.mean():.1f} % on average", used.mean() >= USED),
        ("parity of the exports", f"{len(others)} fail", not others),
    ]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("CUTONCE_DATA")
    parser.add_argument("--data", type=Path, default=data, required=data is None)
    parser.add_argument("--out", type=Path, default=Path("cutonce-search-run"))
    parser.add_argument("--runs", type=int, default=5, help="of 12 budgets each (default 5)")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

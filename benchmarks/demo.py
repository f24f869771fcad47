"""What `cutonce demo` takes and gives on this machine: time, memory, budgets, accuracy.

    python benchmarks/demo.py [--out DIR] [--seed N] [--json FILE]

Runs the public command in a process of its own and prints PASS or MISS per target:

- under 5 minutes, and under 3 GB of memory (proportional set size of the whole process tree, sampled);
- the dense model beats the majority class and TF-IDF with logistic regression;
- every budget is met by the exported artifact, measured again by `cutonce verify`;
- every sub-network is within 3 points of the dense model's accuracy.

The data is made on the spot (docstrings of the standard library); the seed of splits and training is
drawn at run time unless given. The demo's own table goes to stdout too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

SECONDS, BYTES, POINTS = 300.0, 3e9, 0.03
INTERVAL = 1.0  # between two looks at the memory


def main() -> int:
    args = parse()
    seed = secrets.randbelow(2**16) if args.seed is None else args.seed
    print(
        f"machine: {platform.machine()}, {os.cpu_count()} CPUs, {platform.platform()}; seed {seed}"
    )
    with tempfile.TemporaryDirectory() as place:
        out = args.out or Path(place) / "demo"
        if out.exists():
            raise SystemExit(
                f"{out} exists; what is finished is not run again, so name another --out."
            )
        result, seconds, peak = timed(out, seed)
    rows = judge(result, seconds, peak)
    for name, value, met in rows:
        print(f"{'PASS' if met else 'MISS'}  {name}: {value}")
    if args.json:
        found = [{"target": name, "value": value, "met": met} for name, value, met in rows]
        args.json.write_text(json.dumps({"seed": seed, "targets": found, "demo": result}, indent=1))
    return 0 if all(met for _, _, met in rows) else 3


def timed(out: Path, seed: int) -> tuple[dict[str, Any], float, float]:
    """The demo's result, its seconds, and the largest memory of its process tree in bytes."""
    command = [
        sys.executable,
        "-m",
        "cutonce.cli",
        "demo",
        "--out",
        str(out),
        "--seed",
        str(seed),
        "--json",
    ]
    started, peak = time.monotonic(), 0.0
    with tempfile.TemporaryFile("w+") as answer:
        with subprocess.Popen(command, stdout=answer) as child:
            while child.poll() is None:
                peak = max(peak, memory(child.pid))
                time.sleep(INTERVAL)
        seconds = time.monotonic() - started
        answer.seek(0)
        text = answer.read()
    if child.returncode not in (0, 3):
        raise SystemExit(f"the demo failed with exit code {child.returncode}")
    return json.loads(text), seconds, peak


def memory(root: int) -> float:
    total = 0.0
    try:
        tree = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    except psutil.Error:
        return total
    for process in tree:
        try:
            total += process.memory_full_info().pss
        except (psutil.Error, AttributeError):
            continue
    return total


def judge(result: dict[str, Any], seconds: float, peak: float) -> list[tuple[str, str, bool]]:
    found, checked = result["search"], result["verify"]["artifacts"]
    dense = found["dense"]["metrics"]["report"]["accuracy"]
    baselines = result["baselines"]
    others = ", ".join(f"{name} {value:.1%}" for name, value in baselines.items())
    rows = [
        ("time", f"{seconds:.0f} s", seconds < SECONDS),
        ("peak memory", f"{peak / 1e9:.2f} GB", peak < BYTES),
        (
            "dense model",
            f"{dense:.1%} against {others}",
            dense > max(baselines.values()),
        ),
    ]
    for entry, row in zip(found["budgets"], checked, strict=True):
        accuracy = row["metrics"]["accuracy"]
        rows += [
            (entry["budget"], described(entry, row), bool(row["budget_met"])),
            (f"{entry['budget']} accuracy", f"{accuracy:.1%}", accuracy >= dense - POINTS),
        ]
    return rows


def described(entry: dict[str, Any], row: dict[str, Any]) -> str:
    predicted, numbers = entry["predicted"], row["measured"]
    quantiles = ", ".join(f"{key} {numbers[key]:.3f}" for key in ("intrinsic", "p50", "p90"))
    return (
        f"limit {row['limit']:.3f} ms, predicted {predicted['ms']:.3f} [{predicted['lower']:.3f}, "
        f"{predicted['upper']:.3f}], {quantiles}, {row['speedup']:.2f}x beside the dense model, "
        f"{entry['dense_size_bytes'] / 2**20:.1f} -> {entry['size_bytes'] / 2**20:.1f} MB"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, help="keep the demo's directory (default: a temporary one)"
    )
    parser.add_argument("--seed", type=int)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

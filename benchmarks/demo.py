"""What `cutonce demo` takes and gives: time, memory, budgets, accuracy.

    python benchmarks/demo.py [--device NAME] [--out DIR] [--seed N] [--json FILE]

Runs the public command in a process of its own, for this machine or a device that `cutonce devices add`
or examples/emulated_device.py made known, and prints PASS or MISS per target:

- on this machine under 5 minutes; under 3 GB of memory here (proportional set size of the whole process
  tree, sampled);
- the dense model beats the majority class and TF-IDF with logistic regression;
- every budget is met by the exported artifact, measured again by `cutonce verify`;
- every sub-network is within 3 points of the dense model's accuracy.

The data is made on the spot (docstrings of the standard library); the seed of splits and training is
drawn at run time unless given. The demo's own table goes to stdout too.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import Row, Timed, cutonce, machine, verdict

SECONDS, BYTES, POINTS = 300.0, 3e9, 0.03


def main() -> int:
    args = parse()
    seed = secrets.randbelow(2**16) if args.seed is None else args.seed
    print(f"{machine()}; seed {seed}")
    with tempfile.TemporaryDirectory() as place:
        out = args.out or Path(place) / "demo"
        if out.exists():
            raise SystemExit(
                f"{out} exists; what is finished is not run again, so name another --out."
            )
        asked = ("--device", args.device, "--out", str(out), "--seed", str(seed))
        done = cutonce("demo", *asked)
    if done.code not in (0, 3):
        raise SystemExit(f"the demo failed with exit code {done.code}")
    for title, seconds in done.phases:
        print(f"{seconds:5.0f} s  {title}")
    return verdict(
        judge(done, args.device), args.json, seed=seed, demo=done.result, phases=done.phases
    )


def judge(done: Timed, device: str) -> list[Row]:
    result = done.result
    found, checked = result["search"], result["verify"]["artifacts"]
    dense = found["dense"]["metrics"]["report"]["accuracy"]
    baselines = result["baselines"]
    others = ", ".join(f"{name} {value:.1%}" for name, value in baselines.items())
    rows = [
        ("peak memory", f"{done.peak / 1e9:.2f} GB", done.peak < BYTES),
        (
            "dense model",
            f"{dense:.1%} against {others}",
            dense > max(baselines.values()),
        ),
    ]
    if device == "local":
        rows.insert(0, ("time", f"{done.seconds:.0f} s", done.seconds < SECONDS))
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
        f"limit {row['limits'][0]['limit']:.3f} ms, predicted {predicted['ms']:.3f} "
        f"[{predicted['lower']:.3f}, {predicted['upper']:.3f}], {quantiles}, "
        f"{row['speedup']:.2f}x beside the dense model, "
        f"{entry['dense_size_bytes'] / 2**20:.1f} -> {entry['size_bytes'] / 2**20:.1f} MB"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, help="keep the demo's directory (default: a temporary one)"
    )
    parser.add_argument("--device", default="local")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

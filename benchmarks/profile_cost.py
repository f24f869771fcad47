"""What a profile costs, and the tile sizes that it finds.

    python benchmarks/profile_cost.py [--runtimes onnxruntime] [--quick] [--json FILE]

Runs `cutonce profile` around MiniLM (L6-H384-A12-F1536) and BERT-base (L12-H768-A12-F3072) at length 128,
with onnxruntime and OpenVINO side by side or one of them, in fp32 and in int8, each with a store of its
own, and prints PASS or MISS per target: MiniLM under 2 minutes in fp32 and 4 in int8, BERT-base under 6
and 12, all under 6 GB (proportional set size of the process tree, sampled). The error is the
leave-one-out median.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import Row, cutonce, machine, verdict

MINILM, BASE = "L6-H384-A12-F1536", "L12-H768-A12-F3072"
SECONDS = {
    (MINILM, "fp32"): 120, (MINILM, "int8"): 240, (BASE, "fp32"): 360, (BASE, "int8"): 720,
}  # fmt: skip
BYTES = 6e9
RUNTIMES = ("onnxruntime", "openvino")


def main() -> int:
    args = parse()
    print(machine())
    rows, results = [], {}
    for around, precision in SECONDS:
        if args.quick and around == BASE:
            continue
        row, result = cost(around, precision, args.runtimes)
        rows.append(row)
        results[f"{around} {precision}"] = result
    return verdict(rows, args.json, profiles=results)


def cost(around: str, precision: str, runtimes: Sequence[str]) -> tuple[Row, dict[str, Any]]:
    targets = [f"local/{runtime}/{precision}" for runtime in runtimes]
    with tempfile.TemporaryDirectory() as place:
        done = cutonce("profile", *targets, "--around", around, "--store", f"{place}/s.sqlite")
    if done.code:
        raise SystemExit(f"the profile failed with exit code {done.code}")
    for target, made in done.result.items():
        probes = ", ".join(
            f"{probe['width']} to {probe['width'] + 1} x{probe['ratio']:.3f}"
            for probe in made["probes"]
        )
        print(f"{around} {target}: error {made['error']:.1%}, tile {made['tile']} ({probes})")
        operators = ", ".join(f"{row['operator']} {row['ms']:.3f}" for row in made["operators"])
        print(f"    ms of one operator more: {operators}", flush=True)
    limit = SECONDS[around, precision]
    phases = ", ".join(f"{title} {seconds:.0f} s" for title, seconds in done.phases)
    print(f"    {phases}")
    text = f"{done.seconds:.0f} s of {limit}, {done.peak / 1e9:.2f} GB"
    print(f"    {text}", flush=True)
    met = done.seconds < limit and done.peak < BYTES
    return (f"profile of {around}, {precision}", text, met), done.result


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    parser.add_argument("--quick", action="store_true", help="MiniLM alone")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

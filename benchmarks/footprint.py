"""File size and peak memory of encoders that their predictors have not seen.

    python benchmarks/footprint.py [--out DIR] [--targets TARGET...] [--json FILE]

Predictors are fitted to ten encoders, as `cutonce profile` does, and asked for twenty others; both are
drawn by a seed that is drawn at run time, and half of each have large embedding tables. It has no targets
to reach. Interrupted, the same call with the same --out goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from common import drawn_seed, machine
from prediction import POOL, TARGETS, WORKLOAD, exported, random_encoder, summary

from cutonce.candidates import Pair
from cutonce.footprints import other_predictors, to_weigh
from devices.target import Target
from predictors.planning import plan
from profiler.footprint import Footprint, weigh
from profiler.store import Store

KNOWN, HELD_OUT = 10, 20
MB = 1e6


def main() -> int:
    args = parse()
    print(machine())
    seed = drawn_seed(args.out)
    print(f"encoders drawn by seed {seed}")
    known, asked = drawn(seed)
    results = {}
    for text in args.targets:
        target = Target.parse(text)
        weighed = weighed_pairs(target, [*known, *asked], args.out)
        predictors = other_predictors(target, {pair: weighed[pair] for pair in known}, [])
        truths = {
            "file size": [weighed[pair].file_bytes / MB for pair in asked],
            "peak memory": [(weighed[pair].peak_bytes or np.nan) / MB for pair in asked],
        }
        for name, predictor in predictors.items():
            architectures, workloads = zip(*asked, strict=True)
            signed = predictor.predict(architectures, workloads) / np.array(truths[name]) - 1
            lower, upper = predictor.predict_interval(architectures, workloads)
            held = np.mean((lower <= truths[name]) & (truths[name] <= upper))
            results[f"{text}, {name}"] = signed.tolist()
            span = f"{min(truths[name]):.0f} to {max(truths[name]):.0f} MB"
            print(
                f"{text:28} {name:12} {summary(signed)}  90 % interval holds {held:.0%}  ({span})",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    return 0


def drawn(seed: int) -> tuple[list[Pair], list[Pair]]:
    """The encoders that predictors are fitted to, and those that they are asked for."""
    rng = np.random.default_rng(seed)
    pool = list(dict.fromkeys(random_encoder(rng) for _ in range(POOL)))
    chosen = plan(pool, WORKLOAD, KNOWN, "fp32", seed)
    left = [encoder for place, encoder in enumerate(pool) if place not in {*chosen}]
    fitted, *others = (
        to_weigh([(encoder, WORKLOAD) for encoder in part])
        for part in ([pool[place] for place in chosen], left[:KNOWN], left[KNOWN:HELD_OUT])
    )
    return fitted, list(chain.from_iterable(others))


def weighed_pairs(target: Target, pairs: Sequence[Pair], place: Path) -> dict[Pair, Footprint]:
    jobs = exported(target, pairs, place)
    with Store(place / "measurements.sqlite") as store:
        found = weigh(jobs, store=store, campaign="footprint", progress=lambda *_: None)
    return dict(zip(pairs, found, strict=True))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("cutonce-footprint"))
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

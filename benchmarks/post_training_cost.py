"""What cutting without training costs in time and memory, from a dense model to a finished sub-network.

    python benchmarks/post_training_cost.py [--quick] [--json FILE]

Encoders of BERT-base size and of 6 layers with hidden size 384, with random weights, and 512 random
sentences of 8 to 64 tokens: the order of all units, the database of refitted weights, the error of every
module at every size, then for two budgets (half and a third of the multiply-adds, taken for milliseconds)
the choice by joint divergence, extraction and reconstruction. Each in a process of its own, whose largest
resident memory counts. Prints PASS or MISS per target: BERT-base under 10 minutes and 6 GB, the small one
under 90 s, a second budget in under a quarter of the time of the first.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Row, machine, verdict

from deploy.architecture import uniform
from deploy.costs import macs
from deploy.encoder import Encoder
from deploy.workload import Workload
from elastic.reconstruction.database import eliminated
from elastic.reconstruction.least_squares import reconstruct
from elastic.search.feasible import Feasible, Limit
from elastic.search.judge import Judge
from elastic.search.knapsack import cheapest
from elastic.search.sensitivity import Divergence, module_errors
from elastic.space import SearchSpace
from predictors.cost_table import CostTable
from predictors.predictor import LatencyPredictor

SHAPES = {"6 x 384": (6, 384, 12, 1536), "BERT-base size": (12, 768, 12, 3072)}
SECONDS = {"6 x 384": 90.0, "BERT-base size": 600.0}
BYTES = 6e9
SENTENCES, BATCH = 512, 32
VOCABULARY = 30522


def main() -> int:
    args = parse()
    if args.shape:
        print(json.dumps(steps(*SHAPES[args.shape])))
        return 0
    print(machine())
    rows: list[Row] = []
    results = {}
    for name in list(SHAPES)[: 1 if args.quick else None]:
        done = subprocess.run(
            [sys.executable, __file__, "--shape", name],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        results[name] = found = json.loads(done.stdout)
        print(f"{name}: {found}", flush=True)
        first = sum(found["seconds"].values()) - found["seconds"]["second budget"]
        second = found["seconds"]["second budget"]
        met = first < SECONDS[name] and found["bytes"] < BYTES
        rows.append((name, f"{first:.0f} s, {found['bytes'] / 1e9:.2f} GB", met))
        rows.append(
            (f"{name}, second budget", f"{second / first:.0%} of the first", second < first / 4)
        )
    return verdict(rows, args.json, results=results)


def steps(layers: int, hidden: int, heads: int, width: int) -> dict[str, Any]:
    """Seconds of every step, and the largest memory of this process in bytes."""
    torch.manual_seed(0)
    dense = Encoder(uniform(layers, hidden, heads, width, vocabulary=VOCABULARY, labels=2)).eval()
    space = SearchSpace.around(dense.architecture)
    batches = sentences()
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.monotonic()
        found = work()
        seconds[name] = time.monotonic() - began
        return found

    elastic, database = timed("order and database", lambda: eliminated(dense, batches))
    some = batches[:: len(batches) // 2][:2]  # 64 sentences, and 256 below, as the search takes
    errors = timed("errors", lambda: module_errors(elastic, space, some, database))
    apart = timed("references", lambda: Divergence(elastic, batches[::2], database))
    judge = Judge(errors, lambda choice, every: apart(space.chain(choice), every))
    table = multiply_adds(space)
    for name, part in (("first budget", 1 / 2), ("second budget", 1 / 3)):

        def cut(part: float) -> None:
            limit = Limit(table, part * table.predict(space.dense)[1])
            [choice] = judge.decode([Feasible(limit)])
            chain = space.chain(choice or cheapest(table))
            reconstruct(elastic.dense, elastic.extract(chain), chain, batches)

        timed(name, lambda part=part: cut(part))
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "bytes": peak}


def multiply_adds(space: SearchSpace) -> CostTable:
    """The cost table of a device that takes a millisecond for every 10⁹ of them."""
    rng, workload = np.random.default_rng(0), Workload(1, 32)
    known = [space.architecture(space.sample(rng)) for _ in range(24)]
    ms = [1e-9 * macs(a, workload) for a in known]
    predictor = LatencyPredictor().fit(known, [workload] * len(known), ms)
    return predictor.table(space.base, space.choices, workload)


def sentences() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    lengths = np.sort(rng.integers(8, 65, SENTENCES)).reshape(-1, BATCH)
    batches = []
    for some in lengths:
        mask = (np.arange(some.max()) < some[:, None]).astype(np.int64)
        ids = rng.integers(0, VOCABULARY, mask.shape) * mask
        batches.append({"input_ids": ids, "attention_mask": mask, "token_type_ids": 0 * ids})
    return batches


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the small encoder alone")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--shape", choices=SHAPES, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

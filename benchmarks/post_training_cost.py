"""What cutting without training costs in time and memory, from a dense model to a finished sub-network.

    python benchmarks/post_training_cost.py [--quick] [--json FILE]

Encoders of BERT-base size and of 6 layers with hidden size 384, with random weights, and 512 random
sentences of 8 to 64 tokens: the order of all units, the database of refitted weights, the error of every
module at every size, then the choice by joint divergence for a budget (half of the multiply-adds, taken
for milliseconds), its extraction and reconstruction; and again for this budget and a second one (a third)
in one search, whose cost is the difference. Each in a process of its own, whose largest resident memory
counts. Prints PASS or MISS per target: BERT-base under 10 minutes and 6 GB, the small one under 90 s, a
second budget in under a quarter of the time of the first.
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
from elastic.search.divergence import Divergence
from elastic.search.each_text import EachText
from elastic.search.feasible import Feasible, Limit
from elastic.search.judge import SEARCH, Judge
from elastic.search.knapsack import cheapest
from elastic.search.sensitivity import module_errors
from elastic.search.texts import Texts
from elastic.space import SearchSpace
from predictors.cost_table import CostTable
from predictors.predictor import LatencyPredictor

SHAPES = {"6 x 384": (6, 384, 12, 1536), "BERT-base size": (12, 768, 12, 3072)}
SECONDS = {"6 x 384": 90.0, "BERT-base size": 600.0}
BYTES = 6e9
SENTENCES, BATCH = 512, 32
PARTS = 1 / 2, 1 / 3  # of the multiply-adds, a budget each
PER_BUDGET = "choice", "reconstruction"  # the steps that a further budget adds to
VOCABULARY = 30522


def main() -> int:
    args = parse()
    if args.shape:
        print(json.dumps(steps(*SHAPES[args.shape], args.budgets)))
        return 0
    print(machine())
    rows: list[Row] = []
    results = {}
    for name in list(SHAPES)[: 1 if args.quick else None]:
        one, two = results[name] = [process(name, budgets) for budgets in (1, 2)]
        first = sum(one["seconds"].values())
        second = sum(two["seconds"][step] - one["seconds"][step] for step in PER_BUDGET)
        met = first < SECONDS[name] and one["bytes"] < BYTES
        rows.append((name, f"{first:.0f} s, {one['bytes'] / 1e9:.2f} GB", met))
        rows.append(
            (f"{name}, second budget", f"{second / first:.0%} of the first", second < first / 4)
        )
    return verdict(rows, args.json, results=results)


def process(name: str, budgets: int) -> Any:
    """The steps of a shape for so many budgets."""
    command = [sys.executable, __file__, "--shape", name, "--budgets", str(budgets)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    print(f"{name}, {budgets} budget(s): {found}", flush=True)
    return found


def steps(layers: int, hidden: int, heads: int, width: int, budgets: int) -> dict[str, Any]:
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
    texts = timed("answers", lambda: Texts(dense, batches[::2]))  # 256, as the search takes
    errors = timed("errors", lambda: module_errors(elastic, space, texts, database, every=SEARCH))
    apart = timed("references", lambda: Divergence(EachText(elastic, texts, database)))
    judge = Judge(errors, lambda choice, every: apart(space.chain(choice), every))
    table = multiply_adds(space)
    dense_cost = table.predict(space.dense)[1]
    limits = [Feasible(Limit(table, part * dense_cost)) for part in PARTS[:budgets]]
    choices = timed("choice", lambda: judge.decode(limits))

    def finish() -> None:
        for choice in choices:
            chain = space.chain(choice or cheapest(table))
            reconstruct(elastic.dense, elastic.extract(chain), chain, batches)

    timed("reconstruction", finish)
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
    parser.add_argument("--budgets", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

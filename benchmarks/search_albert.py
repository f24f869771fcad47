"""Searches of a real 12-layer encoder, against the best network that any of them found.

    python benchmarks/search_albert.py --data DIR [--seeds 3] [--evaluations 100] [--quick]
                                      [--speedups 2 3] [--out DIR] [--json FILE]

DIR (or CUTONCE_DATA) holds model_rxnmapper_albert, a pre-trained ALBERT for reactions. Loss: KL to the
dense model of the masked tokens of 64 reactions, every sub-layer refitted. Latency: multiply-adds, as a
device takes them that is bound by nothing else. For 2 and 3 times fewer of them prints the loss after 25,
50 and 100 evaluations over that of the best known network: the least of all these searches, and of one by
natural gradient that goes on three times as long. The evaluations of single cuts that the prior takes
are not charged here: all but `evolution`, `random` and `asng` begin with it. Also prints what the
optimiser itself takes of a search. Prints PASS or MISS per target:

- the natural gradient needs at most a third of the evaluations of the best rival;
- it takes at most 5 % of the time of its search.

Interrupted, the same call with the same --out goes on where it stopped; what a process for each speed-up
has evaluated with one --out, a call for all of them uses.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from common import Row, drawn_seed, machine, verdict
from dense_models import prepare
from post_training_cost import multiply_adds
from rival_searches import RIVALS

from deploy.encoder import Encoder
from deploy.task import Task
from elastic.reconstruction.database import eliminated
from elastic.search.divergence import Divergence
from elastic.search.each_text import EachText
from elastic.search.feasible import Feasible, Limit
from elastic.search.knapsack import Array, Errors
from elastic.search.sensitivity import module_errors
from elastic.search.strategies import STRATEGIES
from elastic.search.texts import Texts
from elastic.space import Choice, SearchSpace

SPEEDUPS = (2.0, 3.0)
MARKS = (25, 50, 100)
CALIBRATION, TEXTS = 512, 64
OURS = "natural-gradient"
STRATEGY_NAMES = (OURS, "look-up", "asng")
RIVAL_NAMES = ("random", "evolution", "evolution, warm", "SPDY")
LONGER, SHARE = 3, 0.05


class World(Feasible):
    """What benchmarks/rival_searches.py asks of a world, on a real encoder."""

    def __init__(self, errors: Errors, loss: Callable[[Choice], float], limit: Limit) -> None:
        super().__init__(limit)
        self.levels, self.loss, self.table = [len(row) for row in errors], loss, self


class Losses:
    """Divergences, each computed once and kept in a file with the seconds that it took.

    ``seconds`` sums what those took that were asked for, kept ones too; ``waited`` what asking took here.
    """

    def __init__(self, dense: Encoder, task: Task, seed: int, path: Path) -> None:
        batches = task.batches("train", limit=CALIBRATION)
        texts = Texts(dense, task.batches("search", limit=TEXTS), seed=seed)
        self.space = SearchSpace.around(dense.architecture)
        elastic, database = eliminated(dense, batches, seed=seed)
        self.errors: Errors = module_errors(elastic, self.space, texts, database)
        self._apart = Divergence(EachText(elastic, texts, database))
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._known: dict[Choice, tuple[float, float]] = {
            tuple(choice): (loss, seconds) for choice, loss, seconds in map(json.loads, lines)
        }
        self.seconds = self.waited = 0.0

    def __call__(self, choice: Choice) -> float:
        began = time.monotonic()
        if choice not in self._known:
            loss = self._apart(self.space.chain(choice))
            self._known[choice] = loss, time.monotonic() - began
            with self._path.open("a") as file:
                print(json.dumps([choice, *self._known[choice]]), file=file)
        loss, seconds = self._known[choice]
        self.seconds += seconds
        self.waited += time.monotonic() - began
        return loss


def main() -> int:
    args = parse()
    first = drawn_seed(args.out)
    print(machine())
    print(f"seeds from {first}")
    dense, task, _ = prepare("albert", args.data, Path(), first, False)
    losses = Losses(dense, task, first, args.out / "losses.jsonl")
    table = multiply_adds(losses.space)
    whole = table.predict(losses.space.dense)[1]
    results: dict[str, Any] = {}
    curves: dict[str, list[Array]] = {}
    shares = []
    for speedup in args.speedups:
        world = World(losses.errors, losses, Limit(table, whole / speedup))
        found = {}
        for name in (*STRATEGY_NAMES, *RIVAL_NAMES):
            found[name] = [
                searched(name, world, losses.errors, seed, args.evaluations)
                for seed in range(first, first + args.seeds)
            ]
            print(
                f"{speedup:g}x {name}: {np.mean([run[-1] for run in found[name]]):.4f} nats",
                flush=True,
            )
        shares.append(own_share(world, losses, first, args.evaluations))
        longest = searched(OURS, world, losses.errors, first - 1, LONGER * args.evaluations)
        best = min(longest[-1], *(run[-1] for runs in found.values() for run in runs))
        print(f"{speedup:g}x best known: {best:.4f} nats")
        results[f"{speedup:g}x"] = {"best": best, **found}
        for name, runs in found.items():
            curves.setdefault(name, []).append(np.array(runs).mean(0) / best - 1)
    marks = [mark for mark in MARKS if mark <= args.evaluations]
    for name, some in curves.items():
        mean = np.mean(some, axis=0)
        print(f"{name:18} " + " / ".join(f"{100 * mean[mark - 1]:.1f}" for mark in marks) + " %")
    return verdict(judge(curves, shares), args.json, results=results)


def searched(name: str, world: World, errors: Errors, seed: int, count: int) -> list[float]:
    """The least loss after every evaluation, ``count`` of them."""
    told = RIVALS[name](world, errors, seed) if name in RIVALS else ours(name, world, errors, seed)
    losses = [world.loss(choice) for choice in islice(told, count)]
    least = np.minimum.accumulate(losses + [np.inf] * (count - len(losses)))
    return [float(value) for value in least]


def ours(name: str, world: World, errors: Errors, seed: int) -> Iterator[Choice]:
    made = STRATEGIES.get(name)(errors, [world], seed=seed)
    while (choice := made.ask()) is not None:
        made.tell(choice, world.loss(choice))
        yield choice


def own_share(world: World, losses: Losses, seed: int, count: int) -> float:
    """Of the time of a search that evaluates everything itself, what is not evaluating."""
    losses.seconds = losses.waited = 0.0
    began = time.monotonic()
    searched(OURS, world, losses.errors, seed, count)
    own = time.monotonic() - began - losses.waited
    return own / (own + losses.seconds)


def judge(curves: dict[str, list[Array]], shares: Sequence[float]) -> list[Row]:
    mean = {name: np.mean(some, axis=0) for name, some in curves.items()}
    rival, curve = min(
        ((name, some) for name, some in mean.items() if name != OURS), key=lambda pair: pair[1][-1]
    )
    reached = np.flatnonzero(mean[OURS] <= curve[-1])
    count = int(reached[0]) + 1 if len(reached) else None
    text = (
        f"{count or 'more than all'} of {len(curve)} that {rival} took to {100 * curve[-1]:.1f} %"
    )
    own = float(np.mean(shares))
    return [
        (
            "evaluations to the best rival's loss",
            text,
            count is not None and count <= len(curve) / 3,
        ),
        ("the optimiser's own time", f"{100 * own:.1f} % of a search", own <= SHARE),
    ]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("CUTONCE_DATA")
    parser.add_argument("--data", type=Path, default=data, required=data is None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--speedups", type=float, nargs="+", default=SPEEDUPS)
    parser.add_argument("--quick", action="store_true", help="one seed, 30 evaluations")
    parser.add_argument("--out", type=Path, default=Path("cutonce-search-albert"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.evaluations = 1, 30
    return args


if __name__ == "__main__":
    raise SystemExit(main())

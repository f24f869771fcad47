"""How near to the best network a search comes with few evaluations, on exhaustive tables of real models.

    python benchmarks/search.py --data DIR [--tables A.csv.gz ...] [--seeds 20] [--quick] [--out DIR]
        [--json FILE]

DIR (or CUTONCE_DATA) holds search_tables/table_a.csv.gz and table_b.csv.gz: every sub-network of two
small BERT-like classifiers with its KL to the dense model and its latency. --tables adds others, as
benchmarks/make_search_table.py writes them. For budgets of 1.5 to 4 times less latency prints the regret
(L − L*) / L* after 25, 50, 100 and 300 evaluations, L the KL on the whole of the dev set, of every
strategy and rival; with a prior as single cuts measured it, a flat one, and one whose layers are
permuted, the evaluations of a measured prior charged. Beside it after 100 evaluations: what a run's
regret is above ours with the same seed and budget, the hypervolume of what the four budgets found as a
share of the whole table's, and the share of evaluated networks above their budget. Rivals want
`pip install -e ".[benchmarks]"`. Interrupted, the same call with the same --out goes on where it stopped.
Prints PASS or MISS per target:

- mean regret with a good prior ≤ 5 % after 50 evaluations and ≤ 2 % after 100; with a flat or misleading
  one ≤ 10 % after 100 on every table of 60,000 networks or more;
- no rival does after 300 what the natural gradient does after 100, with the same prior;
- at most 5 % of what it evaluates is above its budget;
- the certificate's bound lies above the optimum no more often than it admits;
- one run for 3 targets and 4 budgets with twice the evaluations of one is at most 1 point worse than 12
  single runs;
- told the loss on 64 texts, what it returns is within 1.5 times the noise floor of these, on tables with
  the losses of single texts;
- ASNG stays open on pure noise, where SNG as released collapses, and is not moved by a tie;
- decoding 12 layers with 10,000 buckets takes at most 50 ms.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
from common import Row, drawn_seed, machine, verdict
from joblib import Memory
from rival_searches import RIVALS, Rival
from search_checks import certificates, certified, collapse, decoding
from search_joint import joint, shared
from search_noise import floor_kept, noisy
from search_tables import Table, World, hypervolume, priors, regrets, summary

from elastic.search.knapsack import Array, Errors
from elastic.search.strategies import STRATEGIES
from elastic.space import Choice

MARKS = (25, 50, 100, 300)
AT = 100  # evaluations, after which runs are compared
SPEEDUPS = (1.5, 2.0, 3.0, 4.0)
OURS = "natural-gradient"
PRIORS = ("good", "flat", "misleading")
WARM = {OURS, "look-up", "evolution, warm"}  # whom a prior tells something
LARGE, LARGE_MOST, OVER_MOST = 60_000, 0.10, 0.05
GOOD_MOST = {50: 0.05, 100: 0.02}


@dataclass(frozen=True)
class Run:
    """One search for one budget.

    Attributes:
        regrets: after MARKS evaluations. over: share of the networks evaluated that miss the budget.
        points: milliseconds and loss of the first networks evaluated that keep it.
    """

    name: str
    prior: str
    seed: int
    speedup: float
    regrets: list[float]
    over: float
    points: list[tuple[float, float]]


Key = tuple[str, str]
"""Of a strategy or rival, and of a prior."""


def main() -> int:
    args = parse()
    first, memory = drawn_seed(args.out), Memory(args.out, verbose=0)
    print(machine())
    print(f"seeds from {first}")
    seeds = range(first, first + args.seeds)
    runs: dict[str, list[Run]] = {}
    rows = [*collapse(), decoding()]
    with ProcessPoolExecutor() as pool:
        for path in [*default_tables(args.data), *args.tables]:
            table = Table(path)
            print(
                f"{path.name}: {len(table.losses):,} networks, dense {table.dense / 1e3:.2f} ms, sums "
                f"of operators miss by at most {100 * table.margin:.1f} % (p95)"
            )
            parts = pool.map(memory.cache(searched), [path] * len(seeds), seeds)
            runs[path.name] = [run for part in parts for run in part]
            show(path.name, table, runs[path.name])
            rows += more(path, seeds, pool, memory)
    results = {name: [vars(run) | {"points": None} for run in some] for name, some in runs.items()}
    sizes = {path.name: len(Table(path).losses) for path in args.tables}
    large = [name for name, size in sizes.items() if size >= LARGE]
    return verdict(judge(runs, large) + rows, args.json, results=results)


def searched(path: Path, seed: int) -> list[Run]:
    """Every strategy and rival with every prior, at every budget."""
    table, found = Table(path), []
    worlds = [World(table, speedup) for speedup in SPEEDUPS]
    every = product(worlds, priors(table, seed).items(), everyone().items())
    for world, (prior, (errors, charged)), (name, search) in every:
        if name in WARM or prior == "flat":
            cost = charged if name in WARM else 0
            told = list(islice(search(world, errors, seed), max(0, max(MARKS) - cost)))
            found.append(
                Run(
                    name, prior, seed, world.speedup,
                    regrets(world, told, MARKS, cost),
                    float(table.over(told, world.limit).mean()) if told else 0.0,
                    world.points(told[: max(0, AT - cost)]),
                )
            )  # fmt: skip
    return found


def more(path: Path, seeds: Sequence[int], pool: Executor, memory: Memory) -> list[Row]:
    """The certificates, one run for many budgets, and few texts where the table has single ones."""

    def mapped(
        function: Callable[..., list[list[float]]], **options: Any
    ) -> Iterator[list[list[float]]]:
        return pool.map(partial(memory.cache(function), path, speedups=SPEEDUPS, **options), seeds)

    bounds, together, few = mapped(certificates, after=AT), mapped(joint), mapped(noisy)
    judges = (certified, bounds), (shared, together), (floor_kept, few)
    found = [(judge, np.array([row for part in parts for row in part])) for judge, parts in judges]
    return [judge(path.name, rows) for judge, rows in found if len(rows)]


def everyone() -> dict[str, Rival]:
    return {name: strategy(name) for name in STRATEGIES} | RIVALS


def strategy(name: str) -> Rival:
    def search(world: World, errors: Errors, seed: int) -> Iterator[Choice]:
        made = STRATEGIES.get(name)(errors, [world], seed=seed)
        while (choice := made.ask()) is not None:
            made.tell(choice, world.loss(choice))
            yield choice

    return search


def show(title: str, table: Table, runs: Sequence[Run]) -> None:
    """One line per strategy or rival and prior."""
    for key in keys(runs):
        name, prior = key
        ours = curves(runs, (OURS, prior))
        found = curves(runs, key)
        some = " / ".join(f"{100 * value:.1f}" for value in found.mean(0))
        at = MARKS.index(AT)
        more = summary(found[:, at] - ours[:, at])
        over = np.mean([run.over for run in runs if (run.name, run.prior) == key])
        print(
            f"{title} {name:20} {prior:10} {some} %, after {AT}: above ours {100 * more['mean']:+.1f} "
            f"[{100 * more['low']:+.1f}, {100 * more['high']:+.1f}], hypervolume "
            f"{100 * volume(table, runs, key):.1f} %, above budget {100 * over:.1f} %",
            flush=True,
        )


def keys(runs: Sequence[Run]) -> list[Key]:
    return list(dict.fromkeys((run.name, run.prior) for run in runs))


def curves(runs: Sequence[Run], key: Key) -> Array:
    """Regrets [runs, marks], in the order of seeds and budgets."""
    return np.array([run.regrets for run in runs if (run.name, run.prior) == key])


def volume(table: Table, runs: Sequence[Run], key: Key) -> float:
    """Mean over seeds: hypervolume of what all budgets found, as a share of the table's."""
    mine = [run for run in runs if (run.name, run.prior) == key]
    whole = list(zip(table.latency, table.losses, strict=True))
    reference = table.dense, 2 * min(World(table, max(SPEEDUPS)).optimum, float(table.losses.max()))
    found = [
        hypervolume([p for run in mine if run.seed == seed for p in run.points], reference)
        for seed in {run.seed for run in mine}
    ]
    return float(np.mean(found)) / hypervolume(whole, reference)


def judge(runs: dict[str, list[Run]], large: Sequence[str]) -> list[Row]:
    every = {key for some in runs.values() for key in keys(some)}
    means = {
        key: np.mean([curves(some, key).mean(0) for some in runs.values()], axis=0) for key in every
    }
    good = means[OURS, "good"]
    rows = [
        (f"good prior, {mark} evaluations", f"{100 * good[MARKS.index(mark)]:.1f} % of {100 * most:.0f}",
         bool(good[MARKS.index(mark)] <= most))
        for mark, most in GOOD_MOST.items()
    ]  # fmt: skip
    for name, prior in product(large, PRIORS[1:]):
        regret = curves(runs[name], (OURS, prior)).mean(0)[MARKS.index(AT)]
        text = f"{100 * regret:.1f} % of {100 * LARGE_MOST:.0f}"
        rows.append((f"{name}, {prior} prior, {AT} evaluations", text, bool(regret <= LARGE_MOST)))
    rows += [third(means, prior) for prior in PRIORS]
    over = np.mean([run.over for some in runs.values() for run in some if run.name == OURS])
    rows.append(("evaluated above budget", f"{100 * over:.1f} %", bool(over <= OVER_MOST)))
    return rows


def third(means: dict[Key, Array], prior: str) -> Row:
    """Whether the best rival wants three times our evaluations with that prior, or with none."""
    ours = means[OURS, prior][MARKS.index(100)]
    rivals = {
        key: curve[MARKS.index(300)]
        for key, curve in means.items()
        if key[0] != OURS and key[1] in (prior, "flat")
    }
    best = min(rivals, key=rivals.__getitem__)
    text = (
        f"{100 * ours:.1f} % after 100, best rival {100 * rivals[best]:.1f} % after 300 ({best[0]})"
    )
    return f"{prior} prior, a third of the evaluations", text, bool(ours <= rivals[best])


def default_tables(data: Path) -> list[Path]:
    return [data / "search_tables" / f"table_{name}.csv.gz" for name in "ab"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("CUTONCE_DATA")
    parser.add_argument("--data", type=Path, default=data, required=data is None)
    parser.add_argument("--tables", type=Path, nargs="*", default=[], help="further tables")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two seeds")
    parser.add_argument("--out", type=Path, default=Path("cutonce-search"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.seeds = 2 if args.quick else args.seeds
    return args


if __name__ == "__main__":
    raise SystemExit(main())

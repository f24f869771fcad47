"""How near to the best network a search comes with few evaluations, on exhaustive tables of real models.

    python benchmarks/search.py --data DIR [--tables A.csv.gz ...] [--seeds 20] [--quick] [--json FILE]

DIR (or CUTONCE_DATA) holds search_tables/table_a.csv.gz and table_b.csv.gz: every sub-network of two
small BERT-like classifiers with its KL to the dense model and its latency. For budgets of 1.5 to 4 times
less latency prints the regret (L − L*) / L* after 25, 50, 100 and 300 evaluations, L the KL on the whole
of the dev set, of every strategy and rival; with a prior as single cuts measured it, a flat one, and one
whose layers are permuted, the evaluations of a measured prior charged. Rivals want `pip install -e
".[benchmarks]"`. Prints PASS or MISS per target:

- mean regret with a good prior ≤ 5 % after 50 evaluations and ≤ 2 % after 100;
- no rival does after 300 what the natural gradient does after 100, with the same prior.
"""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import Row, machine, verdict
from rival_searches import RIVALS, Rival
from search_tables import Table, World, priors, regrets, summary

from elastic.search.knapsack import Array, Errors
from elastic.search.strategies import STRATEGIES
from elastic.space import Choice

MARKS = (25, 50, 100, 300)
SPEEDUPS = (1.5, 2.0, 3.0, 4.0)
OURS = "natural-gradient"
WARM = {*STRATEGIES, "evolution, warm"} - {"sng", "asng"}  # whom a prior tells something


def main() -> int:
    args = parse()
    first = secrets.randbelow(2**16)
    print(machine())
    print(f"seeds from {first}")
    rows: list[Row] = []
    results: dict[str, Any] = {}
    means: dict[str, list[Array]] = {}
    for path in args.tables or default_tables(args.data):
        table = Table(path)
        print(f"{path.name}: {len(table.losses):,} networks, dense {table.dense / 1e3:.2f} ms")
        for name, by_prior in searched(table, first, args.seeds).items():
            results[f"{path.name}/{name}"] = by_prior
            for prior, found in by_prior.items():
                curve = np.array(found).mean(0)
                means.setdefault(f"{name}/{prior}", []).append(curve)
                text = " / ".join(f"{100 * value:.1f}" for value in curve)
                spread = summary(np.array(found)[:, MARKS.index(100)])
                print(
                    f"{path.name} {name:20} {prior:10} {text} %, after 100: "
                    f"{100 * spread['low']:.1f} to {100 * spread['high']:.1f}",
                    flush=True,
                )
    rows += judge({name: np.mean(curves, axis=0) for name, curves in means.items()})
    return verdict(rows, args.json, results=results)


def searched(table: Table, first: int, seeds: int) -> dict[str, dict[str, list[list[float]]]]:
    """Regrets [runs][marks] by strategy or rival, and by prior."""
    found: dict[str, dict[str, list[list[float]]]] = {}
    for seed in range(first, first + seeds):
        for speedup in SPEEDUPS:
            world = World(table, speedup)
            for prior, (errors, charged) in priors(table, seed).items():
                for name, search in everyone().items():
                    warm = name in WARM
                    if not warm and prior != "flat":
                        continue
                    told = search(world, errors, seed)
                    some = regrets(world, told, MARKS, charged if warm else 0)
                    found.setdefault(name, {}).setdefault(prior, []).append(some)
    return found


def everyone() -> dict[str, Rival]:
    return {name: strategy(name) for name in STRATEGIES} | RIVALS


def strategy(name: str) -> Rival:
    def search(world: World, errors: Errors, seed: int) -> Iterator[Choice]:
        made = STRATEGIES.get(name)(errors, [world], seed=seed)
        while (choice := made.ask()) is not None:
            made.tell(choice, world.table.loss(choice))
            yield choice

    return search


def judge(means: dict[str, Array]) -> list[Row]:
    good = means[f"{OURS}/good"]
    rows = [
        (f"good prior, {mark} evaluations", f"{100 * good[MARKS.index(mark)]:.1f} % of {100 * most:.0f}",
         bool(good[MARKS.index(mark)] <= most))
        for mark, most in ((50, 0.05), (100, 0.02))
    ]  # fmt: skip
    for prior in ("good", "flat", "misleading"):
        ours = means[f"{OURS}/{prior}"][MARKS.index(100)]
        rivals = {
            name: curve[MARKS.index(300)]
            for name, curve in means.items()
            if not name.startswith(OURS) and name.endswith((f"/{prior}", "/flat"))
        }
        best = min(rivals, key=rivals.__getitem__)
        text = f"{100 * ours:.1f} % after 100, best rival {100 * rivals[best]:.1f} % after 300 ({best})"
        rows.append(
            (f"{prior} prior, a third of the evaluations", text, bool(ours <= rivals[best]))
        )
    return rows


def default_tables(data: Path) -> list[Path]:
    return [data / "search_tables" / f"table_{name}.csv.gz" for name in "ab"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("CUTONCE_DATA")
    parser.add_argument("--data", type=Path, default=data, required=data is None)
    parser.add_argument("--tables", type=Path, nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two seeds")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.seeds = 2 if args.quick else args.seeds
    return args


if __name__ == "__main__":
    raise SystemExit(main())

"""The recipes of the four systems and our own, at equal cost of training, cut to equal latency.

    python benchmarks/recipes.py --data DIR [--out DIR] [--tasks sst2 trec mrpc stsb] [--seeds 3]
        [--recipes cutonce dynabert yoco rosita nas-bert] [--start MODEL] [--json FILE]

DIR (or CUTONCE_DATA) holds glue/SST-2, glue/MRPC, glue/STS-B, trec and vocab_bert_uncased. A dense
6-layer hidden-256 BERT is trained for 6 epochs on at most 8,000 examples of a task (from --start, if
given), then by every recipe at the cost of as many again, counted in passes of one example forward and
back, a smaller network's by its multiply-accumulates. ROSITA and NAS-BERT end in one model, and have
that for all speed-ups together, where NAS-BERT's blocks, the same for all, count once. Settings are the
papers', all but the number of epochs, the batch of 32, and learning rates, which are those of hidden size
768 times three, as the dense model is a third as wide.
For 1.5, 2 and 4 times less measured latency `cutonce search` chooses the sub-network, without further
training but for ours: each is taught by the dense model for an epoch, at the cost of fewer before, and
stays as it was where that makes it no better on the search split. Of
ROSITA it is the largest of its shapes that is predicted to fit, of NAS-BERT what its own table chooses,
by latencies of a profile of encoders of many shapes, convolutions among them. In the same search the one
training of ours is cut for two more targets, with nothing trained again: OpenVINO in int8, to an eighth
of the dense model's latency in fp32, scored as the exported file answers, and PyTorch, to half. MRPC and
STS-B have one seed. Prints PASS or MISS per target:

- cutonce above all others that reach it, at every speed-up, on the mean over seeds;
- of the dense score it keeps 98.5 % at 2x, 97 % at 4x, and in int8 97 % at 8x.

A task on which the dense model is within two standard errors of the majority is listed, not judged.
Interrupted, the same call with the same --out goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from common import Row, machine, verdict
from recipe_cuts import MORE, OURS, SPEEDUPS, Cuts
from recipe_tasks import LENGTHS
from recipe_trainings import RATES, Trainings

from cutonce.tasks import load_task
from devices.errors import UsageError
from elastic.families import load
from elastic.recipes.teacher import check_teacher

KEPT = {2.0: 0.985, 4.0: 0.97, MORE: 0.97}  # of the dense score
SEVERAL = ("sst2", "trec")  # tasks with several seeds


def main() -> int:
    args = parse()
    print(machine())
    rows: list[Row] = []
    results: dict[str, Any] = {}
    for task in args.tasks:
        seeds = range(args.seeds if task in SEVERAL else 1)
        results[task] = [
            compared(task, Trainings(task, seed, args), args.recipes) for seed in seeds
        ]
        rows += judged(task, results[task], args.recipes)
    return verdict(rows, args.json, results=results)


def compared(task: str, trainings: Trainings, recipes: list[str]) -> dict[str, Any]:
    """Scores of the dense model, and rows of every recipe, one per speed-up."""
    dense = trainings.dense()
    found: dict[str, Any] = {"dense": dense}
    print(f"{task}, seed {trainings.seed}: dense {dense['score']:.4f}", flush=True)
    try:
        check_trained(trainings)
    except UsageError as error:
        print(f"{task}, seed {trainings.seed}: listed, not judged. {error}", flush=True)
        return found
    for recipe in recipes:
        found[recipe] = Cuts(trainings).of(recipe)
        for row in found[recipe]:
            print(f"{task}, {recipe}: {described_row(row, dense)}", flush=True)
    return found


def check_trained(trainings: Trainings) -> None:
    """Raises UsageError where the dense model is at chance."""
    model = load(trainings.model)
    known = {"text_pair": None, "label": None} | trainings.described
    task = load_task(model, kind=known.pop("task", None), **known, seed=trainings.seed)
    check_teacher(model.encoder, task)


def described_row(row: dict[str, Any], dense: dict[str, Any]) -> str:
    untaught = f" ({row['untaught']:.4f} before it was taught)" if "untaught" in row else ""
    return (
        f"{row['score']:.4f}{untaught} at {row['speedup']:.2f}x (asked {row['asked']:g}x) on "
        f"{row['target']}, {row['score'] / dense['score']:.1%} of dense; trained in "
        f"{row['passes'] / dense['examples']:.1f} dense epochs, {row['seconds']:.0f} s"
    )


def judged(task: str, found: list[dict[str, Any]], recipes: list[str]) -> list[Row]:
    """Rows of one task; none where the dense model is at chance."""
    found = [one for one in found if recipes[0] in one]
    if not found:
        return []
    dense = float(np.mean([one["dense"]["score"] for one in found]))
    rows: list[Row] = []
    for place, speedup in enumerate((*SPEEDUPS, MORE)):
        means = {
            recipe: float(np.mean([one[recipe][place]["score"] for one in found]))
            for recipe in recipes
            if place < len(found[0][recipe])
        }
        if means:
            print(f"{task} at {speedup:g}x, mean of {len(found)}: dense {dense:.4f}, {means}")
        others = {r: mean for r, mean in means.items() if r != OURS and not np.isnan(mean)}
        if OURS not in means:
            continue
        mine = means[OURS]
        if others:
            best = max(others, key=lambda r: others[r])
            value = f"{mine:.4f}, {best} {others[best]:.4f}"
            rows.append((f"{task} at {speedup:g}x: above all others", value, mine > others[best]))
        if speedup in KEPT:
            kept = f"{task} at {speedup:g}x: {KEPT[speedup]:.1%} of dense"
            rows.append((kept, f"{mine / dense:.1%}", mine >= KEPT[speedup] * dense))
    return rows


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("CUTONCE_DATA"))
    parser.add_argument("--out", type=Path, default=Path("cutonce-recipes"))
    parser.add_argument("--tasks", nargs="+", default=list(LENGTHS), choices=list(LENGTHS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", nargs="+", default=list(RATES), choices=list(RATES))
    parser.add_argument("--start", type=Path, help="model that the dense one starts as")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.data is None:
        parser.error("name the data with --data or CUTONCE_DATA")
    args.data = Path(args.data)
    return args


if __name__ == "__main__":
    sys.exit(main())

"""What a step of every recipe takes, beside a step of the dense model's fine-tuning: time and memory.

    python benchmarks/training_step.py --data DIR [--recipes cutonce dynabert ...] [--steps N]
                                       [--rounds N] [--json FILE]

DIR (or CUTONCE_DATA) holds trec and vocab_bert_uncased. A 6-layer hidden-256 BERT, batches of 32 texts.
Each training is a process of its own, ended after N steps of the optimiser, in rounds over dense and all
recipes; a step is the time from one update of the weights to the next, the least mean of the rounds, and
includes all sub-networks that the recipe computes for it. Memory is the largest of the process. Nothing
is judged.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import machine
from dense_models import trec
from recipe_trainings import BATCH, DENSE_RATE, RATES, SHAPE, WIDER

FIRST = 3  # steps, in which memory is taken and kernels are chosen


class Enough(Exception):
    """As many steps as were asked for."""


def main() -> int:
    args = parse()
    if args.child:
        print(json.dumps(steps(args.child, args)))
        return 0
    print(machine())
    found: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as text:
        args.out = Path(text)
        train(args, SHAPE, "dense", args.out / "dense", epochs=0.1)
        for _ in range(args.rounds):
            for recipe in ("dense", *args.recipes):
                one = measured(recipe, args)
                known = found.setdefault(recipe, one)
                found[recipe] = {key: min(known[key], one[key]) for key in one}
    for recipe, one in found.items():
        ratios = {key: one[key] / found["dense"][key] for key in one}
        print(
            f"{recipe}: {1000 * one['seconds']:.0f} ms a step, {ratios['seconds']:.2f} times dense; "
            f"{one['gigabytes']:.2f} GB, {ratios['gigabytes']:.2f} times dense"
        )
    if args.json:
        args.json.write_text(json.dumps(found))
    return 0


def measured(recipe: str, args: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--data", args.data, "--steps", args.steps]
    command += ["--child", recipe, "--out", args.out]
    done = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def steps(recipe: str, args: argparse.Namespace) -> dict[str, float]:
    """Mean seconds of a step, and the most memory that this process had."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    moments: list[float] = []

    def count(*_: Any) -> None:
        moments.append(time.monotonic())
        if len(moments) == FIRST + args.steps + 1:
            raise Enough

    register_optimizer_step_post_hook(count)
    with TemporaryDirectory() as place, suppress(Enough):
        train(args, args.out / "dense", recipe, Path(place) / "model", epochs=3.0)
    taken = [
        after - before for before, after in zip(moments[FIRST:], moments[FIRST + 1 :], strict=False)
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"seconds": sum(taken) / len(taken), "gigabytes": peak}


def train(args: argparse.Namespace, model: Any, recipe: str, out: Path, epochs: float) -> None:
    import cutonce

    dense = recipe == "dense"
    cutonce.train(
        model, recipe=recipe, **trec(args.data, args.out), epochs=epochs, batch_size=BATCH, out=out,
        learning_rate=DENSE_RATE if dense else RATES[recipe] * WIDER,
        tokenizer=args.data / "vocab_bert_uncased" if model == SHAPE else None,
    )  # fmt: skip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("CUTONCE_DATA")
    parser.add_argument("--data", type=Path, default=data, required=data is None)
    parser.add_argument("--recipes", nargs="+", default=list(RATES), choices=list(RATES))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())

"""Dense models, and recipes that are trained at their cost; what ended is not run again."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import drawn_seed
from recipe_tasks import LENGTHS, described

import cutonce
from cutonce.scores import headline
from deploy.workload import Workload
from devices.target import Target

TARGET = Target.parse("local/onnxruntime/fp32")
SHAPE, EPOCHS, BATCH, DENSE_RATE = "L6-H256-A4-F1024", 6.0, 32, 3e-4
RATES = {  # at hidden size 768
    "cutonce": 1e-4, "dynabert": 2e-5, "yoco": 2e-5, "rosita": 2e-5, "nas-bert": 1.7e-4,
}  # fmt: skip
WIDER = 768 / 256
PILOTS = (0.12, 0.24)  # epochs, whose passes tell how many cost so much; long enough for all stages
Cost = Callable[[dict[str, Any], float], float]
"""Passes of what was trained for so many epochs."""


class Trainings:
    """Those of one task and seed.

    Attributes:
        place: where all of it is kept. model: the dense one. described: the task, as keywords of
            `cutonce train`.
        store: of measurements, with the profile around the dense models of the task: its own, as a store
            holds one profile of a target.
    """

    def __init__(self, task: str, number: int, args: argparse.Namespace) -> None:
        self._data, self._start = args.data, args.start
        self.drawn = drawn_seed(args.out)  # of all seeds
        self.seed = self.drawn + number
        self.place = args.out / task / f"seed-{number}"
        self.model = self.place / "dense"
        self.described = described(task, args.data, self.place, self.seed)
        self.store = args.out / task / "measurements.sqlite"
        self.workload = Workload(1, LENGTHS[task])

    def dense(self) -> dict[str, Any]:
        """Its score, trained and profiled first where it is not yet."""
        found = self._trained(
            "dense", self._start or SHAPE, epochs=EPOCHS, learning_rate=DENSE_RATE,
            batch_size=BATCH,
            tokenizer=None if self._start else self._data / "vocab_bert_uncased",
        )  # fmt: skip
        self.kept("profile", lambda: self.profiled(self.store, around=str(self.model)))
        sizes = found["task"]["sizes"]
        metrics = found["metrics"]["report"]
        return {
            "score": score(metrics), "metrics": metrics, "examples": sizes["train"],
            "report": sizes["report"], "seconds": found["took"],
        }  # fmt: skip

    def profiled(self, store: Path, **asked: Any) -> dict[str, Any]:
        """With one seed for all dense models of a task, so that what one measured serves the others."""
        found: dict[str, Any] = cutonce.profile(
            [str(TARGET)], length=[self.workload.length], store=store, seed=self.drawn, **asked
        )
        return found

    def equally_trained(
        self,
        recipe: str,
        name: str,
        pilot: str,
        part: float,
        settings: dict[str, Any],
        cost: Cost = lambda trained, _: float(trained["passes"]),
    ) -> dict[str, Any]:
        """At the cost of that part of the dense epochs, as far as two pilots of that name tell."""
        rate = RATES[recipe] * WIDER
        asked = {"recipe": recipe, "batch_size": BATCH, "learning_rate": rate, **settings}
        if not self._path(f"train-{name}").exists():
            costs = [
                cost(
                    self._trained(f"pilot-{pilot}-{epochs}", self.model, epochs=epochs, **asked),
                    epochs,
                )
                for epochs in PILOTS
            ]
            slope = (costs[1] - costs[0]) / (PILOTS[1] - PILOTS[0])
            goal = part * EPOCHS * self.dense()["examples"]
            asked["epochs"] = max(PILOTS[0], (goal - costs[0]) / slope + PILOTS[0])
        return self._trained(name, self.model, **asked)

    def distilled(self, subnet: Path) -> dict[str, float]:
        """Scores of a sub-network after an epoch towards the dense model."""
        name = f"distilled-{subnet.name}"
        found = self._trained(name, subnet, recipe="distil", teacher=self.model, epochs=1.0)
        metrics: dict[str, float] = found["metrics"]["report"]
        return metrics

    def _trained(self, name: str, model: Any, **settings: Any) -> dict[str, Any]:
        return self.kept(
            f"train-{name}",
            lambda: cutonce.train(
                model, out=self.place / name, **self.described, **settings, seed=self.seed
            ),
        )

    def kept(self, name: str, run: Any, place: Path | None = None) -> dict[str, Any]:
        """What ``run`` gives, or gave; for all seeds in a ``place`` of the task."""
        path = self._path(name, place)
        if not path.exists():
            began = time.monotonic()
            found = run()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**found, "took": time.monotonic() - began}))
        kept: dict[str, Any] = json.loads(path.read_text())
        return kept

    def _path(self, name: str, place: Path | None = None) -> Path:
        return (place or self.place) / "results" / f"{name}.json"


def score(metrics: dict[str, float]) -> float:
    found = headline(metrics)
    assert found is not None
    return float(found[1])

"""What is left of cut networks: their scores beside the dense model's, and those after distillation."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dense_models import prepare

from cutonce.scores import headline
from cutonce.tasks import predict_with
from deploy.encoder import Encoder
from deploy.task import Task
from devices.runtimes import Arrays
from elastic.outputs import divergence
from elastic.recipes.distil import Lesson, distil


@dataclass(frozen=True)
class Dense:
    """Where a dense model of :mod:`dense_models` comes from, as ``prepare`` is told."""

    name: str
    data: Path
    out: Path
    seed: int
    quick: bool

    def prepare(self) -> tuple[Encoder, Task, Task | None]:
        return prepare(self.name, self.data, self.out, self.seed, self.quick)


class Scorer:
    """Scores a network on the examples to report on, and by its divergence from ``dense`` there."""

    def __init__(self, dense: Encoder, task: Task, dev: Task | None) -> None:
        self.task, self.dev = task, dev
        remember = Remembering(dense)
        self.answers, self.outputs = task.answers(remember, "report"), remember.outputs
        self.dense_scores = task.evaluate(predict_with(dense), "report")

    def __call__(self, student: Encoder) -> dict[str, float]:
        remember = Remembering(student)
        scores = self.task.evaluate(remember, "report", self.answers)
        name, value = headline(scores) or ("", 0.0)
        found = {
            "kl": self._divergence(student, remember.outputs),
            "score": value,
            "dense_score": self.dense_scores[name],
            "changed": 1 - scores["agreement"],
            "answers": sum(np.size(answer) for answer in self.answers),
        }
        if self.dev:
            found["dev"] = self.dev.evaluate(predict_with(student), "report")[name]
        return found

    def _divergence(self, student: Encoder, theirs: Sequence[np.ndarray[Any, Any]]) -> float:
        """The mean over examples, in nats."""
        total, count = 0.0, 0
        for batch, *outputs in zip(self.task.batches("report"), self.outputs, theirs, strict=True):
            one, other = (torch.from_numpy(some).double() for some in outputs)
            real = torch.from_numpy(batch["attention_mask"])
            apart = divergence(student.architecture, one, other, real)
            total, count = total + float(apart.sum()), count + len(apart)
        return total / count


class Remembering:
    """An encoder's outputs for batches, kept in their order."""

    def __init__(self, encoder: Encoder) -> None:
        self._predict = predict_with(encoder)
        self.outputs: list[np.ndarray[Any, Any]] = []

    def __call__(self, batch: Arrays) -> np.ndarray[Any, Any]:
        self.outputs.append(self._predict(batch))
        return self.outputs[-1]


def distilled(
    dense: Dense, students: Sequence[tuple[Path, int]]
) -> Iterator[tuple[int, dict[str, float]]]:
    """Distil every student (its directory, the seed of the training) for one epoch, one on each core.

    Yields (its place among the students, its scores and seconds) as they finish.
    """
    # Two trainings of a thread each get through more than one after the other of two threads each.
    context = multiprocessing.get_context("spawn")
    workers = min(len(students), os.cpu_count() or 1)
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(dense,)
    ) as pool:
        futures = {pool.submit(_distilled, *student): i for i, student in enumerate(students)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_kept: dict[str, Any] = {}  # what a worker makes once for all its students


def _start(dense: Dense) -> None:
    torch.set_num_threads(1)
    model, task, dev = dense.prepare()
    _kept.update(scorer=Scorer(model, task, dev), lesson=Lesson(model, task))


def _distilled(directory: Path, seed: int) -> dict[str, float]:
    student = Encoder.from_pretrained(directory)
    began = time.monotonic()
    distil(student, _kept["lesson"], epochs=1.0, seed=seed)
    return {"seconds": time.monotonic() - began, **_kept["scorer"](student)}

"""ROSITA: one small model, cut step by step while it is distilled.

Source: Liu et al. 2021 (arXiv 2103.11367) and its code. All layers are given the same number of heads
and of neurons, the upper layers are left out, and the table of tokens is factorised by its singular
value decomposition; of BERT-base 2 heads, 8 layers, 512 neurons and rank 128 are left, 14,473,216
parameters.
What goes is chosen by |w| · Σ|g| over the steps since the last cut (elastic.importance.taylor_rosita).
Cuts are evenly spread over the first part of a stage. The distilled loss is that of the outputs at
temperature 1, and where it says so the sum of the mean squared distances of embeddings and layers,
layer k of l against layer ⌊12k/l⌋ of the teacher's 12. Their number of stages tells the paper's
settings apart:

1. everything is cut at once, then distilled from the dense model (its setting S1);
2. layers are cut at once, then heads, neurons and rank step by step (S3);
3. layers are cut step by step, distilled from the dense model's outputs alone; then the others, distilled
   from what that gave (S4, the best).

Other than in the released code: the student begins as the fine-tuned model, where the paper begins with
one distilled from it at full size, which gains nothing without more data; cuts are made in memory, the
optimiser being made anew as it is there; the outputs' loss is no mean over classes, so that tasks of
two and of three weigh alike.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from deploy.architecture import Architecture, Operator
from deploy.encoder import Encoder
from deploy.task import Task
from devices.errors import UsageError
from elastic.checkpoint import ElasticCheckpoint
from elastic.elastic_encoder import ElasticEncoder
from elastic.importance.taylor_rosita import saliency_weights, taylor_rosita, unit_scores
from elastic.outputs import divergence
from elastic.recipes.stages import Stage, Stages
from elastic.recipes.supernet import Student, Teacher, distance, layers_of
from elastic.recipes.teacher import check_teacher, labelled_batches
from elastic.recipes.training import Batch, Loss, Progress
from elastic.search.knapsack import Array
from elastic.space import Chain, resized, size_of
from elastic.trunk import Trunk

WEIGHT_DECAY = 0.01
DEPTH_WINDOW, WIDTH_WINDOW = 0.5, 0.01  # of a stage, in which its cuts are; the paper's for SST-2
SCORED = 1024  # examples, where everything is cut at once
SHAPE = re.compile(r"([LAFE])(\d+)")


@dataclass(frozen=True)
class Shape:
    """What all layers have alike.

    Attributes:
        rank: of the table of tokens; 0 where it is not factorised.
    """

    layers: int
    heads: int
    width: int
    rank: int

    @classmethod
    def of(cls, architecture: Architecture) -> Shape:
        """Of the first layer."""
        layers = layers_of(architecture, "rosita")
        attention, feed_forward = layers[0]
        return cls(len(layers), attention.heads, feed_forward.width, architecture.rank)

    @classmethod
    def small(cls, dense: Shape, columns: int) -> Shape:
        """The paper's: two thirds of the layers, a sixth of everything else."""
        layers, heads = round(2 * dense.layers / 3), round(dense.heads / 6)
        return cls(max(1, layers), max(1, heads), max(1, dense.width // 6), max(1, columns // 6))

    @classmethod
    def parse(cls, text: str, dense: Shape) -> Shape:
        """``L8-A2-F512-E128``: layers, heads, neurons, rank; what is not said stays as it is dense.

        Raises UsageError for another text.
        """
        parts = [SHAPE.fullmatch(part) for part in text.split("-")]
        if not all(parts):
            raise UsageError(
                f"{text!r} is no shape; write L8-A2-F512-E128 for 8 layers of 2 heads and 512 neurons "
                "and a table of tokens of rank 128."
            )
        names = {"L": "layers", "A": "heads", "F": "width", "E": "rank"}
        return replace(dense, **{names[part[1]]: int(part[2]) for part in parts if part})

    def check(self, dense: Shape, columns: int) -> None:
        """Raises UsageError where it is no part of ``dense``, whose table has so many columns."""
        pairs = [
            ("layers", self.layers, dense.layers),
            ("heads", self.heads, dense.heads),
            ("neurons", self.width, dense.width),
            ("rank", self.rank or columns, columns),
        ]
        for name, kept, whole in pairs:
            if not 1 <= kept <= whole:
                raise UsageError(f"{kept} {name} cannot be kept of {whole}; expected 1 to {whole}.")

    def towards(self, small: Shape, done: int, of: int, columns: int) -> Shape:
        """``done`` of so many even steps towards ``small`` in everything but the layers."""

        def between(whole: int, kept: int) -> int:
            return whole - (whole - kept) * done // of

        rank = between(self.rank or columns, small.rank) if small.rank else 0
        heads, width = between(self.heads, small.heads), between(self.width, small.width)
        return Shape(self.layers, heads, width, rank)

    def chain(self, architecture: Architecture) -> Chain:
        """Of this shape, in an encoder of ``architecture``: its lower layers."""
        found: list[Operator | None] = []
        for place, operator in enumerate(architecture.operators):
            size = self.width if place % 2 else self.heads
            found.append(resized(operator, size) if place // 2 < self.layers else None)
        return tuple(found)

    def trunk(self, architecture: Architecture) -> Trunk:
        """Of this shape; of a rank as large as the table has columns there is nothing to gain."""
        return Trunk(rank=self.rank if 0 < self.rank < architecture.table[1] else None)


def rosita(
    encoder: Encoder,
    task: Task,
    *,
    shape: str | None = None,
    stages: int = 3,
    epochs: float = 10.0,
    learning_rate: float = 1e-5,
    batch_size: int = 32,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
) -> ElasticCheckpoint:
    """A small encoder cut from ``encoder``, which stays as it is.

    Args:
        shape: as :meth:`Shape.parse` reads it; None means two thirds of the layers, and a sixth of the
            heads, neurons and rank, as the paper has it.
        stages: 1, 2 or 3.
        epochs: of the last stage; where there are three, half as many of the one before it, at twice the
            learning rate. The defaults are the paper's for SST-2.
        out: for checkpoints, which an interrupted training goes on from.
        progress: called with (steps done, total).

    Raises:
        UsageError: the encoder is at chance on the task, or has other sub-layers than a BERT, or no
        such part.
        ModelError: the training diverges.
    """
    dense, columns = Shape.of(encoder.architecture), encoder.architecture.table[1]
    small = Shape.parse(shape, dense) if shape else Shape.small(dense, columns)
    small.check(dense, columns)
    if stages not in (1, 2, 3):
        raise UsageError(f"There are 1, 2 or 3 stages, not {stages}.")
    check_teacher(encoder, task)
    shallow = replace(dense, layers=small.layers)
    by_depth, by_width = [], []
    if stages == 3:
        gone = range(1, dense.layers - small.layers + 1)
        by_depth = [replace(dense, layers=dense.layers - count) for count in gone]
    if stages > 1:
        count = max(1, dense.heads - small.heads)
        by_width = [shallow.towards(small, n, count, columns) for n in range(1, count + 1)]
    run = Stages(
        [
            *(
                _spread("depth", by_depth, epochs / 2, 2 * learning_rate, DEPTH_WINDOW)
                if by_depth
                else ()
            ),
            *_spread("width", by_width, epochs, learning_rate, WIDTH_WINDOW),
        ],
        task,
        batch_size=batch_size,
        seed=seed,
        out=out,
        progress=progress,
    )
    student = Scored(copy.deepcopy(encoder), encoder.architecture, task.max_length)
    teacher = Teacher(copy.deepcopy(encoder))
    if by_depth:
        student = _cut_and_taught(run, student, by_depth, _lesson(teacher, states=False))
        teacher = Teacher(copy.deepcopy(student.encoder))
    elif stages > 1:
        student = student.cut(shallow, None)
    else:
        batches, labels = labelled_batches(task, "train", SCORED)
        scores = taylor_rosita(encoder, batches, seed=seed, labels=labels)
        student = student.cut(small, scores)
    student = _cut_and_taught(run, student, by_width, _lesson(teacher, states=True))
    return ElasticCheckpoint.of_one("rosita", student.encoder, float(student.passes))


class Scored(Student):
    """With Σ|g| of the weights that score its units, which is kept at checkpoints too."""

    def __init__(
        self, encoder: Encoder, dense: Architecture, length: int, passes: float = 0.0
    ) -> None:
        super().__init__(encoder, dense, length, passes)
        self._dense, self._length = dense, length
        self._scoring = [saliency_weights(layer) for layer in encoder.operators]
        for number, weight in enumerate(self._weights):
            self.register_buffer(f"sum_{number}", torch.zeros_like(weight))

    @property
    def _weights(self) -> list[nn.Parameter]:
        return [weight for some in self._scoring for weight in some]

    def observe(self) -> None:
        """Add the gradients of a step to the sums."""
        for number, weight in enumerate(self._weights):
            if weight.grad is not None:
                self.get_buffer(f"sum_{number}").add_(weight.grad.abs())

    def scores(self) -> list[Array]:
        """Per position of every head or neuron."""
        found = iter(
            weight.detach().abs() * self.get_buffer(f"sum_{number}")
            for number, weight in enumerate(self._weights)
        )
        sizes = map(size_of, self.encoder.architecture.operators)
        return [
            unit_scores([next(found) for _ in some], size)
            for some, size in zip(self._scoring, sizes, strict=True)
        ]

    def cut(self, shape: Shape, scores: Sequence[Array] | None) -> Scored:
        """What is left of it; of every layer the heads and neurons of the highest scores."""
        elastic, architecture = ElasticEncoder(self.encoder, scores), self.encoder.architecture
        small = elastic.extract(shape.chain(architecture), shape.trunk(architecture))
        return Scored(small, self._dense, self._length, float(self.passes))


def _cut_and_taught(run: Stages, student: Scored, cuts: Sequence[Shape], lesson: Loss) -> Scored:
    for shape in cuts:
        run.run(student, lesson, student.observe)
        student = student.cut(shape, student.scores())
    run.run(student, lesson)
    return student


def _lesson(teacher: Teacher, *, states: bool) -> Loss:
    """The outputs as the teacher's, and with ``states`` the hidden states of its layers too."""

    def of(student: Scored, batch: Batch) -> Tensor:
        taught, mask, seen = teacher(batch), batch["attention_mask"], student.see(batch)
        found = divergence(student.encoder.architecture, taught.outputs, seen.outputs, mask).mean()
        if not states:
            return found
        mine, theirs = seen.states[::2], taught.states[::2]
        for state, layer in zip(mine, matched(len(mine) - 1, len(theirs) - 1), strict=True):
            found = found + batch["tokens"][0] * distance(state, theirs[layer], mask)
        return found

    return of


def matched(layers: int, of: int) -> list[int]:
    """The teacher's layer, of so many, for the embeddings and for every layer of the student."""
    return [number * of // layers for number in range(layers + 1)]


def _spread(
    name: str, cuts: Sequence[Shape], epochs: float, learning_rate: float, window: float
) -> list[Stage]:
    """One stage up to every cut, and one for what is left."""
    before = [(f"{name}-{n}", window * epochs / len(cuts)) for n in range(1, len(cuts) + 1)]
    left = epochs * (1 - window) if cuts else epochs
    return [
        Stage(kind, some, learning_rate, weight_decay=WEIGHT_DECAY, schedule="constant")
        for kind, some in (*before, (name, left))
    ]

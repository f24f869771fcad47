"""NAS-BERT: blocks that each learn to be a block of the teacher, and of which the best are put together.

Source: Xu et al. 2021 (arXiv 2105.14444). Nothing of theirs was released but a trained network. What a
block may be is in elastic.recipes.paths.

1. Block n is given what the teacher's block n−1 gave and learns what its block n gave (eq. 2), through
   linear layers to and from its hidden size; of every batch one path of each block is trained. Blocks
   do not wait for each other. What the teacher's blocks gave is computed once for every text and kept
   (elastic.recipes.teacher_states).
2. Paths are binned by parameters and by price, of which latency is one. After some epochs, and after
   every further one, so many paths of every bin are compared on a few batches and the worse half is
   dropped, until few are left: progressive shrinking (§3.3).
3. A network is a path for each block: its loss is taken to be the sum of its blocks', its price the sum
   of theirs. The best sums that keep the budget, of up to 10⁸, are found by a dynamic programme without
   a table of them, and the best of these networks is chosen by its own loss (§3.4).
4. It is trained by ½ cross-entropy + ½ KL(teacher ‖ student), on predictions alone (eq. 3).

Other than in the paper: the network goes on from what its blocks learnt, with their linear layers,
where the paper trains it from scratch for days; so the linear layers stay, and the teacher's embedding
and head with them. The loss of a task-agnostic training is the teacher's: give a masked language model,
and text alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path as File
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deploy.architecture import Architecture, Operator, Projection
from deploy.costs import operator_parameters
from deploy.encoder import Encoder
from deploy.task import Task
from devices.errors import UsageError
from elastic.checkpoint import ElasticCheckpoint
from elastic.outputs import divergence, has_classes, loss
from elastic.recipes.blocks import Blocks, Prefixes, additive, counted
from elastic.recipes.paths import Path, Paths, Price, binned
from elastic.recipes.processes import share_of, summed
from elastic.recipes.stages import Stage, Stages
from elastic.recipes.supernet import Student, distance
from elastic.recipes.teacher import check_teacher
from elastic.recipes.teacher_states import TeacherStates
from elastic.recipes.training import Batch, Loss, Progress, inputs_of
from elastic.search.knapsack import Array, Knapsack
from elastic.tensors import evaluating, tensors

BINS, LEFT = 10, 10  # per block; paths of each that are left (B and m)
COMPARED, BATCHES = 2000, 5  # paths of a bin at most, on so many batches (E)
EVALUATED = 100  # whole networks (T)
UNITS = 10_000  # of the budget
FORWARD = 1 / 3  # of a pass forward and back
RANK = 1 / 6  # of the table of tokens, of the teacher's hidden size


def nas_bert(
    encoder: Encoder,
    task: Task,
    *,
    epochs: float = 3.0,
    learning_rate: float = 5e-4,
    batch_size: int = 32,
    share: float = 0.25,
    rank: int = 0,
    compared: int = COMPARED,
    left: int = LEFT,
    price: Price | None = None,
    seed: int = 0,
    out: File | None = None,
    progress: Progress | None = None,
) -> ElasticCheckpoint:
    """A network put together of blocks that learnt from ``encoder``, which stays as it is.

    Args:
        epochs: of the blocks before the first paths are dropped, and of the network in the end; between
            there is one for every time that paths are dropped.
        share: of what the encoder's sub-layers cost, that those of the network may.
        rank: of the table of tokens; 0 means a sixth of the hidden size.
        compared: paths of every bin, when they are dropped. left: of every bin in the end.
        price: of an operator, given its hidden size: its latency on a device
            (:func:`elastic.recipes.paths.timed`), say; by default its multiply-accumulates.
        out: for checkpoints, which an interrupted training goes on from, and for the teacher's states
            while it runs.
        progress: called with (steps done, total).

    Raises:
        UsageError: the encoder is at chance on the task, or no chain of attentions and feed-forwards with
            a LayerNorm after each; no path is of the same bin by parameters and by price; no network is
            within ``share``.
        ModelError: the training diverges.
    """
    teacher = encoder.architecture
    paths = Paths.of(teacher)
    check_teacher(encoder, task)
    price = price or counted(task.max_length)
    every = list(paths.every())
    sizes = np.array([paths.price(path, teacher, _size) for path in every])
    prices = np.array([paths.price(path, teacher, price) for path in every])
    bins = [_binned(every, sizes, prices)] * paths.blocks
    rounds = rounds_of(max(map(len, bins[0])), compared, left)
    stages = Stages(
        [
            Stage("blocks", epochs, learning_rate, schedule="constant"),
            *(Stage(f"blocks-{n}", 1.0, learning_rate, schedule="constant") for n in range(rounds)),
            Stage("network", epochs, learning_rate / 10),
        ],
        task,
        batch_size=batch_size,
        seed=seed,
        out=out,
        progress=progress,
    )
    blocks = Blocks(encoder, paths, task.max_length, seed)
    taught = _states(encoder, task, "train", paths, out)
    searched = _states(encoder, task, "search", paths, out)
    compare = Comparison(blocks, searched, task, np.random.default_rng(seed))
    stages.run(blocks, _imitation(taught, bins))
    for _ in range(rounds):
        bins = compare.halved(bins, compared, left)
        stages.run(blocks, _imitation(taught, bins))
    candidates = [[path for some in block for path in some] for block in bins]
    budget = share * sum(price(operator, teacher.hidden) for operator in teacher.operators)
    chosen = _chosen(candidates, compare, teacher, price, budget)
    rank = rank or max(1, round(RANK * teacher.hidden))
    student = compare.best(blocks.networks(encoder, chosen, rank))
    network = Student(student, teacher, task.max_length, float(blocks.passes))
    stages.run(network, _predictions(taught))
    return ElasticCheckpoint.of_one("nas-bert", student, float(network.passes))


def _states(
    encoder: Encoder, task: Task, split: str, paths: Paths, place: File | None
) -> TeacherStates:
    lengths = task.split(split).tokens.lengths
    return TeacherStates(copy.deepcopy(encoder), lengths, paths.length, place)


def _binned(paths: Sequence[Path], sizes: Array, prices: Array) -> list[list[Path]]:
    found = binned(paths, [sizes, prices], BINS)
    if not found:
        raise UsageError(
            "No path is of the same bin by its parameters and by its latency, which is nearly the same "
            "for all; train without --target, or for a longer or larger workload."
        )
    return found


def rounds_of(count: int, compared: int, left: int) -> int:
    """How often paths are dropped of a bin of ``count``, until ``left`` are."""
    rounds = 0
    while count > left:
        count -= dropped_of(count, compared, left)
        rounds += 1
    return rounds


def dropped_of(count: int, compared: int, left: int) -> int:
    """The worse half of those that are compared, as long as enough are left."""
    return min(max(1, min(count, compared) // 2), max(0, count - left))


class Comparison:
    """Paths and networks compared on texts of the search split."""

    def __init__(
        self, blocks: Blocks, teacher: TeacherStates, task: Task, rng: np.random.Generator
    ) -> None:
        self._blocks, self._teacher, self._rng = blocks, teacher, rng
        self.paths = blocks.paths
        size = 32
        rows = task.order("search", size * BATCHES)
        self._batches = [
            {**batch, "index": rows[number * size : (number + 1) * size]}
            for number, batch in enumerate(task.batches("search", size, size * BATCHES))
        ]

    def halved(
        self, bins: Sequence[list[list[Path]]], compared: int, left: int
    ) -> list[list[list[Path]]]:
        """Per block its bins with the worse half of those compared dropped, down to ``left``."""
        found = []
        for number, block in enumerate(bins):
            kept = []
            for some in block:
                picked = self._rng.permutation(len(some))[:compared].tolist()
                losses = dict(
                    zip(picked, self.losses(number, [some[i] for i in picked]), strict=True)
                )
                worst = sorted(picked, key=losses.__getitem__, reverse=True)
                dropped = {*worst[: dropped_of(len(some), compared, left)]}
                kept.append([path for i, path in enumerate(some) if i not in dropped])
            found.append(kept)
        return found

    def losses(self, number: int, paths: Sequence[Path]) -> Array:
        """The mean squared distance of each path of a block from the teacher's block: [paths]."""
        totals, texts = np.zeros(len(paths)), sum(len(b["input_ids"]) for b in self._batches)
        self._blocks.count(FORWARD * texts, paths)
        order = sorted(range(len(paths)), key=lambda index: paths[index])
        with evaluating(self._blocks), torch.inference_mode():
            for batch in share_of(self._batches):
                inputs = tensors(batch, self._blocks)
                states, mask = self._teacher(inputs), inputs["attention_mask"]
                given, wanted = states[number], states[number + 1]
                under_way = Prefixes(self._blocks, number, given, additive(mask, given))
                for index in order:
                    found = distance(under_way(paths[index]), wanted, mask)
                    totals[index] += float(found) / len(self._batches)
        return summed(torch.from_numpy(totals)).numpy()

    def best(self, networks: Iterable[Encoder]) -> Encoder:
        """The one that diverges least from the teacher."""
        return min(networks, key=self._apart)

    def _apart(self, network: Encoder) -> float:
        total = 0.0
        with torch.inference_mode():
            for batch in share_of(self._batches):
                inputs = tensors(batch, network)
                wanted, found = self._teacher.outputs(inputs), network(**inputs_of(inputs))
                mask = inputs["attention_mask"]
                total += float(divergence(network.architecture, wanted, found, mask).sum())
        return float(summed(torch.tensor(total, dtype=torch.float64)))


def _imitation(teacher: TeacherStates, bins: Sequence[Sequence[Sequence[Path]]]) -> Loss:
    """Of every block one path, of one of its bins."""

    def of(blocks: Blocks, batch: Batch) -> Iterator[Tensor]:
        states, mask = teacher(batch), batch["attention_mask"]
        chosen = [_drawn(_drawn(block)) for block in bins]
        blocks.count(float(batch["weight"].sum()), chosen)
        for number, path in enumerate(chosen):
            given, wanted = states[number], states[number + 1]
            seen = blocks(number, path, given, additive(mask, given))
            yield batch["tokens"][0] * distance(seen, wanted, mask)

    return of


def _drawn(some: Sequence[Any]) -> Any:
    return some[int(torch.randint(len(some), ()))]


def _predictions(teacher: TeacherStates) -> Loss:
    def of(student: Student, batch: Batch) -> Tensor:
        mask, architecture = batch["attention_mask"], student.encoder.architecture
        outputs = student.see(batch).outputs
        apart = divergence(architecture, teacher.outputs(batch), outputs, mask).mean()
        if not has_classes(architecture):
            return apart
        return 0.5 * loss(architecture, outputs, mask, batch["labels"]) + 0.5 * apart

    return of


def _chosen(
    candidates: Sequence[Sequence[Path]],
    compare: Comparison,
    teacher: Architecture,
    price: Price,
    budget: float,
) -> list[tuple[Path, ...]]:
    """The combinations of least summed loss within ``budget``, the best first."""
    paths = compare.paths
    errors = [compare.losses(number, block) for number, block in enumerate(candidates)]
    prices = [np.array([paths.price(p, teacher, price) for p in block]) for block in candidates]
    last = price(Projection(teacher.hidden), max(paths.hidden))
    least = last + sum(float(row.min()) for row in prices)
    if least > budget:
        raise UsageError(
            f"No network of blocks costs at most {budget:.3g}, the least {least:.3g}; raise share."
        )
    unit = (budget - last) / UNITS
    units = [np.ceil(row / unit).astype(np.int64) for row in prices]
    best = islice(Knapsack(errors, units, UNITS).ranked(UNITS), EVALUATED)
    return [tuple(block[i] for block, i in zip(candidates, choice, strict=True)) for choice in best]


def _size(operator: Operator, hidden: int) -> float:
    return operator_parameters(operator, hidden)

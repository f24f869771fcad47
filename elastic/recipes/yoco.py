"""YOCO-BERT: one sub-network per batch, drawn from a distribution that is learnt beside the weights.

Source: Zhang et al. 2021 (arXiv 2106.02435) and its code. A sub-network has the first ½, ⅔, ⅚ or all of
the layers, and in each of them ⅓, ⅔ or all heads and ⅙, ¼, ⅓ or all neurons, independently: of
BERT-base Σ_L 12^L ≈ 10^13. It is trained on the labels alone (the released settings), the first heads
and neurons being kept as they stand. θ holds the probability of every depth, and of every layer's pair
of sizes; after every batch it takes a step of stochastic natural gradient
(elastic.search.strategies.sng) by what the drawn sub-networks' losses were. Draws exploit θ with
probability ρ, else explore uniformly, ρ being the entropy of
θ: the surer it is, the more is explored. Sizes are admitted step by step, from the largest, first of the
heads, then of the neurons, then of the layers, in eight phases.

What is mended of the released code:

- the λ = 2 sub-networks whose losses are compared are drawn for one batch, where the code compares losses
  of different batches;
- ρ is the mean of the rows' entropies, each as a share of its largest, where the code takes the entropy
  of the rows' mean, which does not see rows that are sure of different things;
- the step of θ is that of ASNG, whose length the signal chooses: a fixed one collapses on noise alone;
- equal losses are ties.

θ is left for a search to begin with, under a measured constraint; the paper's is under a count of
parameters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deploy.encoder import Encoder
from deploy.task import Task
from elastic.checkpoint import ElasticCheckpoint
from elastic.elastic_encoder import ElasticEncoder
from elastic.outputs import loss
from elastic.recipes.processes import mean
from elastic.recipes.stages import Stage, Stages
from elastic.recipes.supernet import Layers, SupernetTraining, layers_of
from elastic.recipes.teacher import check_teacher
from elastic.recipes.training import Batch, Loss, Progress
from elastic.search.knapsack import Array
from elastic.search.strategies.sng import SAMPLES, AdaptiveTheta, utilities
from elastic.space import Chain, Choice, SearchSpace

HEADS, NEURONS, DEPTHS = (1, 2 / 3, 1 / 3), (1, 1 / 3, 1 / 4, 1 / 6), (1, 5 / 6, 2 / 3, 1 / 2)
PHASES = (  # how many of HEADS, NEURONS and DEPTHS are admitted
    (2, 1, 1), (3, 1, 1),
    (3, 2, 1), (3, 3, 1), (3, 4, 1),
    (3, 4, 2), (3, 4, 3), (3, 4, 4),
)  # fmt: skip


def yoco(
    encoder: Encoder,
    task: Task,
    *,
    epochs: float = 1.0,
    learning_rate: float = 1e-5,
    batch_size: int = 8,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
) -> ElasticCheckpoint:
    """Train ``encoder``, which stays as it is, as the supernet of all its sub-networks.

    Args:
        epochs: of each of the eight phases; the defaults are the paper's for SST-2.
        out: for checkpoints, which an interrupted training goes on from.
        progress: called with (steps done, total).

    Raises:
        UsageError: the encoder is at chance on the task, or has other sub-layers than a BERT.
        ModelError: the training diverges.
    """
    sizes = Sizes.of(layers_of(encoder.architecture, "yoco"))
    check_teacher(encoder, task)
    stages = Stages(
        [Stage(f"phase-{n}", epochs, learning_rate) for n in range(1, len(PHASES) + 1)],
        task,
        batch_size=batch_size,
        seed=seed,
        out=out,
        progress=progress,
    )
    supernet = Training(ElasticEncoder(encoder), task.max_length, sizes)
    for phase in PHASES:
        stages.run(supernet, _labelled(sizes.admitted(*phase)))
    space = sizes.space(encoder)
    likely = sizes.likely(space, supernet.theta.rows)
    dense = supernet.elastic.dense
    return ElasticCheckpoint("yoco", dense, space, float(supernet.passes), likely=likely)


@dataclass(frozen=True)
class Sizes:
    """The space: a choice is a number of layers, and for every layer a pair of sizes; see :meth:`chain`.

    Attributes:
        depths: numbers of layers that are kept. pairs: of every layer, heads and neurons; largest first.
    """

    layers: Layers
    depths: tuple[int, ...]
    pairs: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, layers: Layers) -> Sizes:
        depths = _shares(len(layers), DEPTHS)
        pairs = [
            tuple(product(_shares(a.heads, HEADS), _shares(f.width, NEURONS))) for a, f in layers
        ]
        return cls(layers, depths, tuple(pairs))

    @property
    def counts(self) -> list[int]:
        """Of the categories."""
        return [len(self.depths), *map(len, self.pairs)]

    @property
    def count(self) -> int:
        """Of sub-networks."""
        return sum(
            int(np.prod([len(pairs) for pairs in self.pairs[:depth]], dtype=object))
            for depth in self.depths
        )

    def chain(self, choice: Choice) -> Chain:
        """The sub-network of a choice; what it says of layers that are not kept is of no matter."""
        depth, *ops = choice
        chain: list[Chain] = []
        for number, (attention, feed_forward) in enumerate(self.layers):
            heads, width = self.pairs[number][ops[number]]
            kept = replace(attention, heads=heads), replace(feed_forward, width=width)
            chain.append(kept if number < self.depths[depth] else (None, None))
        return tuple(operator for pair in chain for operator in pair)

    def admitted(self, heads: int, neurons: int, depths: int) -> list[list[int]]:
        """Per category what may be drawn where so many sizes of each kind are admitted."""
        found = [list(range(min(depths, len(self.depths))))]
        for (attention, feed_forward), pairs in zip(self.layers, self.pairs, strict=True):
            some = (
                _shares(attention.heads, HEADS[:heads]),
                _shares(feed_forward.width, NEURONS[:neurons]),
            )
            found.append([index for index, pair in enumerate(pairs) if pair in [*product(*some)]])
        return found

    def space(self, encoder: Encoder) -> SearchSpace:
        """Every size at every position, and none where a layer may be left out."""
        choices: list[Chain] = []
        for number, (attention, feed_forward) in enumerate(self.layers):
            dropped = [None] if number >= min(self.depths) else []
            heads, widths = (dict.fromkeys(some) for some in zip(*self.pairs[number], strict=True))
            choices.append((*(replace(attention, heads=h) for h in heads), *dropped))
            choices.append((*(replace(feed_forward, width=w) for w in widths), *dropped))
        return SearchSpace(encoder.architecture, tuple(choices))

    def likely(self, space: SearchSpace, theta: Sequence[Array]) -> list[Array]:
        """θ as probabilities of every position's choices: those of the layer being kept and of its
        sizes."""
        found = []
        for number, (pairs, row) in enumerate(zip(self.pairs, theta[1:], strict=True)):
            kept = float(theta[0][np.array(self.depths) > number].sum())
            for position, kind in ((2 * number, 0), (2 * number + 1, 1)):
                sizes = list(dict.fromkeys(pair[kind] for pair in pairs))
                shares = [
                    kept * sum(p for p, pair in zip(row, pairs, strict=True) if pair[kind] == size)
                    for size in sizes
                ]
                dropped = [1 - kept] if space.choices[position][-1] is None else []
                found.append(np.array([*shares, *dropped], dtype=float))
        return found


class Training(SupernetTraining):
    """With the distribution θ, which is kept at checkpoints too."""

    def __init__(self, elastic: ElasticEncoder, length: int, sizes: Sizes) -> None:
        super().__init__(elastic, length)
        self.sizes, self.theta = sizes, AdaptiveTheta(sizes.counts)

    def get_extra_state(self) -> Tensor:
        """θ, as bytes of JSON: all that a checkpoint keeps is tensors."""
        return torch.frombuffer(
            bytearray(json.dumps(self.theta.state()), "utf-8"), dtype=torch.uint8
        )

    def set_extra_state(self, state: Tensor) -> None:
        self.theta.restore(json.loads(bytes(state.cpu().numpy())))

    def draw(self, admitted: Sequence[Sequence[int]]) -> Choice:
        """From θ, or with the probability that its entropy leaves, uniformly; of what is admitted."""
        rows = [row[list(some)] for row, some in zip(self.theta.rows, admitted, strict=True)]
        if float(torch.rand(())) >= normalised_entropy(rows):
            rows = [np.ones(len(row)) for row in rows]
        drawn = (int(torch.multinomial(torch.from_numpy(row), 1)) for row in rows)
        return tuple(some[place] for some, place in zip(admitted, drawn, strict=True))

    def learn(self, drawn: Sequence[Choice], losses: Sequence[float]) -> None:
        """A step of θ towards the draws of less loss."""
        self.theta.step(drawn, utilities(np.array(losses)))


def normalised_entropy(rows: Sequence[Array]) -> float:
    """The mean over all rows with a choice of their entropy, normalised to be 1 at most; 1 without
    any."""
    shares = [row / row.sum() for row in rows if len(row) > 1]
    if not shares:
        return 1.0
    return float(np.mean([-(p * np.log(p)).sum() / np.log(len(p)) for p in shares]))


def _labelled(admitted: Sequence[Sequence[int]]) -> Loss:
    def of(training: Training, batch: Batch) -> Iterator[Tensor]:
        drawn = [training.draw(admitted) for _ in range(SAMPLES)]
        losses = []
        for choice in drawn:
            outputs = training.see(batch, training.sizes.chain(choice)).outputs
            architecture = training.elastic.architecture
            found = loss(architecture, outputs, batch["attention_mask"], batch["labels"])
            losses.append(found.detach())
            yield found / SAMPLES
        training.learn(drawn, mean(torch.stack(losses), len(batch["index"])).tolist())

    return of


def _shares(whole: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Of ``whole``, the largest first; small numbers have fewer."""
    return tuple(dict.fromkeys(max(1, round(whole * share)) for share in shares))

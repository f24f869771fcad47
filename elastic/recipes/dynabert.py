"""DynaBERT: twelve sub-networks, of four widths and three depths, trained together.

Source: Hou et al. 2020 (arXiv 2004.04037):

- §2.1 heads and neurons are put in order of their importance (elastic.importance.taylor_dynabert), so
  that sub-networks share the important ones;
- §2.2 stage 1, widths m_w ∈ {1, ¾, ½, ¼} at full depth, taught by the fine-tuned model; stage 2, depths
  m_d ∈ {1, ¾, ½} at every width, taught by what stage 1 gave. Of every batch the gradients of all
  sub-networks are added up before a step. Their loss is (eqs. 3 to 5)

      λ₁ · SCE(logits, teacher's) + λ₂ · Σ MSE(hidden states, teacher's),  (λ₁, λ₂) = (1, 0.1), then (1,
      1),

  the last state of a shallower sub-network against the teacher's last;
- optionally in the end a few epochs on the labels.

Which of the twelve a budget gets is chosen by what it takes on the target
(elastic.search.strategies.grid). Other than in the released code: importance is of the train split,
where that of the code is of the development set that it reports; layers are left out as in the grid;
the teacher of stage 2 has full width (the authors found no difference to the paper's); states are
compared where there are tokens; the weights of the last step are kept, not those that are best on the
development set.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from torch import Tensor

from deploy.encoder import Encoder
from deploy.task import Task
from elastic.checkpoint import ElasticCheckpoint, space_of
from elastic.elastic_encoder import ElasticEncoder
from elastic.importance.taylor_dynabert import taylor_dynabert
from elastic.outputs import divergence, loss
from elastic.recipes.stages import Stage, Stages
from elastic.recipes.supernet import (
    Layers,
    SupernetTraining,
    Teacher,
    distance,
    layers_of,
)
from elastic.recipes.teacher import check_teacher, labelled_batches
from elastic.recipes.training import Batch, Loss, Progress
from elastic.search.knapsack import Array
from elastic.search.strategies.grid import goes
from elastic.space import Chain
from elastic.views import Seen

WIDTHS, DEPTHS = (1.0, 0.75, 0.5, 0.25), (1.0, 0.75, 0.5)
STATES = {"width": 0.1, "depth": 1.0}  # λ₂ of each stage
IMPORTANCE_EXAMPLES = 1024


def dynabert(
    encoder: Encoder,
    task: Task,
    *,
    epochs: float = 3.0,
    learning_rate: float = 2e-5,
    batch_size: int = 32,
    final_epochs: float = 0.0,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
) -> ElasticCheckpoint:
    """Train the twelve sub-networks of ``encoder``, which stays as it is.

    Args:
        encoder: fine-tuned on ``task``.
        epochs: of each of the two stages. final_epochs: of training on the labels after them.
        out: for checkpoints, which an interrupted training goes on from.
        progress: called with (steps done, total).

    Raises:
        UsageError: the encoder cannot teach the task, or has other sub-layers than a BERT.
        ModelError: the training diverges.
    """
    layers = layers_of(encoder.architecture, "dynabert")
    check_teacher(encoder, task)
    stages = Stages(
        [
            Stage("width", epochs, learning_rate),
            Stage("depth", epochs, learning_rate),
            Stage("final", final_epochs, learning_rate),
        ],
        task,
        batch_size=batch_size,
        seed=seed,
        out=out,
        progress=progress,
    )
    supernet = SupernetTraining(
        ElasticEncoder(encoder, _importance(encoder, task, seed)), task.max_length
    )
    networks = grid(layers)
    every = list(dict.fromkeys(networks.values()))
    full = [chain for chain in every if None not in chain]
    stages.run(supernet, _taught(full, Teacher(copy.deepcopy(encoder)), STATES["width"]))
    assistant = copy.deepcopy(supernet.elastic.dense)
    stages.run(supernet, _taught(every, Teacher(assistant), STATES["depth"]))
    stages.run(supernet, _labelled(every))
    return ElasticCheckpoint(
        "dynabert",
        supernet.elastic.dense,
        space_of(encoder.architecture, every),
        float(supernet.passes),
        networks,
    )


def grid(layers: Layers) -> dict[str, Chain]:
    """The sub-networks by name, the widest and deepest first.

    Width m keeps round(m · heads) heads and the like share of the neurons; depth m keeps round(m ·
    layers) layers.
    """
    return {
        f"width {width:g}, depth {depth:g}": _network(layers, width, depth)
        for depth, width in product(DEPTHS, WIDTHS)
    }


def _network(layers: Layers, width: float, depth: float) -> Chain:
    gone = len(layers) - max(1, round(depth * len(layers)))
    chain: list[Chain] = []
    for number, (attention, feed_forward) in enumerate(layers):
        if goes(number, gone, len(layers)):
            chain.append((None, None))
            continue
        heads = max(1, round(width * attention.heads))
        neurons = feed_forward.width * heads // attention.heads
        chain.append((replace(attention, heads=heads), replace(feed_forward, width=neurons)))
    return tuple(operator for pair in chain for operator in pair)


def _importance(encoder: Encoder, task: Task, seed: int) -> list[Array]:
    batches, labels = labelled_batches(task, "train", IMPORTANCE_EXAMPLES)
    return taylor_dynabert(encoder, batches, seed=seed, labels=labels)


def _taught(chains: Sequence[Chain], teacher: Teacher, weight: float) -> Loss:
    """Logits and hidden states as the teacher's; ``weight`` is λ₂."""

    def of(supernet: SupernetTraining, batch: Batch) -> Iterator[Tensor]:
        taught, mask = teacher(batch), batch["attention_mask"]
        architecture = supernet.elastic.architecture
        for chain in chains:
            seen = supernet.see(batch, chain)
            # Of the soft cross-entropy it differs by the teacher's entropy, which has no gradient.
            soft = divergence(architecture, taught.outputs, seen.outputs, mask).mean()
            yield soft + weight * batch["tokens"][0] * _apart(chain, seen, taught, mask)

    return of


def _labelled(chains: Sequence[Chain]) -> Loss:
    def of(supernet: SupernetTraining, batch: Batch) -> Iterator[Tensor]:
        for chain in chains:
            outputs = supernet.see(batch, chain).outputs
            architecture = supernet.elastic.architecture
            yield loss(architecture, outputs, batch["attention_mask"], batch["labels"])

    return of


def _apart(chain: Chain, seen: Seen, taught: Seen, mask: Tensor) -> Tensor:
    """Σ MSE of the embeddings and of the states after every layer that is kept."""
    kept = [number for number, operator in enumerate(chain[::2]) if operator is not None]
    theirs = [0, *(2 * (number + 1) for number in kept)]
    theirs[-1] = len(chain)
    mine = range(0, len(seen.states), 2)
    distances = [
        distance(seen.states[a], taught.states[b], mask) for a, b in zip(mine, theirs, strict=True)
    ]
    return sum(distances, start=mask.new_zeros((), dtype=seen.outputs.dtype))

"""cutonce's own recipe: the sub-networks that a search would ask for are the ones that are trained.

What is best in the four systems, and in those after them:

- heads and neurons are put in order first (DynaBERT), by elimination (elastic.reconstruction.database);
- of every batch the whole network is trained, one of the smallest and one of any size (the sandwich rule
  of Yu & Huang 2019, arXiv 1903.05134), the latter two drawn as the search draws (elastic.recipes.draws);
  its posterior is made anew a few times, as the weights change;
- all are taught by the dense encoder, which stays as it was fine-tuned: its outputs (arXiv 1503.02531),
  its states at the same places (ZipLM, arXiv 2302.04089), and how its last queries, keys and values
  relate (MiniLMv2, arXiv 2012.15828: Σ KL(softmax(XXᵀ/√d) ‖ …) over relation heads, however many heads
  are kept).

Sub-networks may also have smaller heads, a smaller hidden size and a table of lower rank. Dimensions are
put in order for that first: within heads by their singular values, of the stream by the loss's curvature.
States of a smaller hidden size are not compared; relations are.

Weights that serve all sub-networks are the best of none: those of the dense encoder, refitted in closed
form, are often nearer to it where little is cut. It is therefore kept beside what is trained, and of both
a search takes what is better (elastic.quality).
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from deploy.encoder import Encoder
from deploy.task import Task
from devices.runtimes import Arrays
from elastic.checkpoint import ElasticCheckpoint
from elastic.elastic_encoder import ElasticEncoder
from elastic.importance.stream import stream_fisher
from elastic.outputs import divergence, has_classes, loss, single
from elastic.recipes.draws import SHARES, Drawn, Draws
from elastic.recipes.processes import agreed
from elastic.recipes.stages import Stage, Stages
from elastic.recipes.supernet import SupernetTraining, Teacher, distance
from elastic.recipes.teacher import check_teacher
from elastic.recipes.training import WEIGHT_DECAY, Batch, Loss, Progress, steps
from elastic.reconstruction.database import eliminated
from elastic.space import WIDTH_STEP, Chain, SearchSpace
from elastic.trunk import Trunk
from elastic.views import Seen

POSTERIORS = 4  # per training
CALIBRATION, TEXTS = 512, 256  # examples: for the order, for posteriors
LEARNING_RATE = 1e-4  # at hidden size 768
WARM_UP = 0.06
TEMPERATURE, ALPHA = 2.0, 0.1  # of the outputs; weight of the labels
RELATION_HEADS = 8  # at most; as many as divide both widths


def cutonce(
    encoder: Encoder,
    task: Task,
    *,
    epochs: float = 6.0,
    learning_rate: float | None = None,
    batch_size: int = 32,
    width_step: int = WIDTH_STEP,
    head_sizes: Sequence[int] = (),
    hidden: Sequence[int] = (),
    rank: Sequence[int] = (),
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
) -> ElasticCheckpoint:
    """Train ``encoder``, which stays as it is, as the supernet of all its sub-networks.

    Args:
        encoder: fine-tuned on ``task``.
        learning_rate: None means 1e-4 at hidden size 768, more for narrower ones in inverse proportion.
        width_step: of the feed-forward widths, the tile of the targets.
        head_sizes, hidden, rank: smaller ones of heads, of the stream, and of the table of tokens that
            are trained, too; a search is asked for hidden sizes and ranks by name.
        out: for checkpoints, which an interrupted training goes on from.
        progress: called with (steps done, total).

    Raises:
        UsageError: the encoder cannot teach the task, or has no such sizes.
        ModelError: the training diverges.
    """
    check_teacher(encoder, task)
    architecture = encoder.architecture
    learning_rate = learning_rate or LEARNING_RATE * 768 / architecture.hidden
    stages = Stages(
        [Stage("supernet", epochs, learning_rate, WARM_UP, WEIGHT_DECAY)],
        task,
        batch_size=batch_size,
        seed=seed,
        out=out,
        progress=progress,
    )
    space = SearchSpace.around(architecture, width_step=width_step, head_sizes=head_sizes)
    trunks = tuple(Trunk(*sizes) for sizes in product((None, *hidden), (None, *rank)))
    batches = task.batches("train", limit=CALIBRATION)
    teacher = _in_order(encoder, batches, seed, heads=bool(head_sizes), stream=bool(hidden))
    elastic, _ = eliminated(teacher, batches, seed=seed)
    for trunk in trunks:  # says if there is no such one, and settles what of the table is kept
        elastic.extract(architecture.operators, trunk)
    draws = Draws(space, trunks, task.batches("search", limit=TEXTS), task.max_length, seed)
    training = Training(SupernetTraining(elastic, task.max_length), draws)
    every = math.ceil(steps(task, epochs, batch_size) / POSTERIORS)
    stages.run(training, _lesson(teacher, every))
    passes = float(training.supernet.passes)
    return ElasticCheckpoint(
        "cutonce", elastic.dense, space, passes, trunks=trunks, teacher=encoder
    )


def _in_order(
    encoder: Encoder, batches: Sequence[Arrays], seed: int, *, heads: bool, stream: bool
) -> Encoder:
    """A copy that computes the same, with dimensions inside heads and of the stream as wanted."""
    if not heads and not stream:
        return copy.deepcopy(encoder)
    worth = stream_fisher(encoder, batches, seed=seed) if stream else None
    return ElasticEncoder(encoder, stream=worth, turned=heads).dense


class Training(torch.nn.Module):
    """The supernet, what is drawn for it at present, and the step; kept at checkpoints."""

    step: Tensor

    def __init__(self, supernet: SupernetTraining, draws: Draws) -> None:
        super().__init__()
        self.supernet, self._draws = supernet, draws
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._drawn: list[list[Drawn]] = []

    def get_extra_state(self) -> Tensor:
        """The draws, as bytes of JSON: all that a checkpoint keeps is tensors."""
        return torch.frombuffer(bytearray(json.dumps(self._drawn), "utf-8"), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        drawn = json.loads(bytes(state.cpu().numpy()))
        self._drawn = [[(place, tuple(choice)) for place, choice in some] for some in drawn]

    def networks(self, teacher: Encoder, every: int) -> Iterator[tuple[Chain, Trunk]]:
        """Those of the next batch: the whole one, one of the smallest budget, one of any."""
        number, step = int(self.step) // every, int(self.step) % every
        if step == 0:
            self._drawn = agreed(self._draws(self.supernet, teacher, number))
        self.step += 1
        space, trunks = self._draws.space, self._draws.trunks
        yield space.chain(space.dense), trunks[0]
        for budget in (len(SHARES) - 1, int(torch.randint(len(SHARES), ()))):
            some = self._drawn[budget]
            if some:
                place, choice = some[int(torch.randint(len(some), ()))]
                yield space.chain(choice), trunks[place]


def _lesson(encoder: Encoder, every: int) -> Loss:
    teacher = Teacher(encoder)

    def of(training: Training, batch: Batch) -> Iterator[Tensor]:
        taught = teacher(batch)
        for chain, trunk in list(training.networks(encoder, every)):
            seen = training.supernet.see(batch, chain, trunk)
            mask, architecture = batch["attention_mask"], encoder.architecture
            apart = divergence(architecture, taught.outputs, seen.outputs, mask, TEMPERATURE)
            found = TEMPERATURE**2 * apart.mean()
            if has_classes(architecture):
                hard = loss(architecture, seen.outputs, mask, batch["labels"])
                found = (1 - ALPHA) * found + ALPHA * hard
            others = _relations_apart(seen, taught, mask)
            if trunk.hidden is None:
                others = others + _states_apart(chain, seen.states, taught.states, mask)
            yield found + batch["tokens"][0] * others

    return of


def _states_apart(
    chain: Chain, seen: Sequence[Tensor], taught: Sequence[Tensor], mask: Tensor
) -> Tensor:
    """The mean distance of the states after every sub-layer that is kept from the dense encoder's there;
    the last one's from the dense encoder's last."""
    kept = [number for number, operator in enumerate(chain, 1) if operator is not None]
    if not kept:
        return mask.new_zeros((), dtype=seen[0].dtype)
    kept[-1] = len(chain)
    pairs = zip(seen[1:], (taught[number] for number in kept), strict=True)
    return torch.stack([distance(mine, theirs, mask) for mine, theirs in pairs]).mean()


def _relations_apart(seen: Seen, taught: Seen, mask: Tensor) -> Tensor:
    """KL of the relations of queries, of keys and of values, the mean over tokens and relation heads; 0
    without attention."""
    found = mask.new_zeros((), dtype=taught.outputs.dtype)
    if not seen.projected:
        return found
    for mine, theirs in zip(seen.projected, taught.projected, strict=True):
        heads = math.gcd(mine.shape[-1], theirs.shape[-1], RELATION_HEADS)
        wanted, got = (_relations(some, heads, mask) for some in (theirs, mine))
        apart = (wanted.exp() * (wanted - got)).sum(-1)  # [batch, heads, sequence]
        found = found + (apart * mask[:, None]).sum() / (heads * mask.sum())
    return found


def _relations(projected: Tensor, heads: int, mask: Tensor) -> Tensor:
    """Logarithms of how much every token relates to every other: [batch, heads, sequence, sequence]."""
    split = projected.unflatten(-1, (heads, -1)).transpose(1, 2)
    scores = single(split @ split.transpose(-1, -2)) * split.shape[-1] ** -0.5
    return scores.masked_fill(mask[:, None, None] == 0, torch.finfo(scores.dtype).min).log_softmax(
        -1
    )

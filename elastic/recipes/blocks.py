"""The blocks of NAS-BERT in training: for each all that it may be, see elastic.recipes.paths."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, takewhile

import numpy as np
import torch
from torch import Tensor, nn

from deploy.architecture import Operator, Projection
from deploy.costs import macs, operator_cost
from deploy.encoder import Encoder
from deploy.layers import ProjectionLayer, make_layer
from deploy.workload import Workload
from elastic.elastic_encoder import ElasticEncoder
from elastic.recipes.paths import KINDS, Path, Paths, Price, sub_layer
from elastic.trunk import Trunk


class Blocks(nn.Module):
    """All that every block may be, in training.

    Attributes:
        passes: see :class:`elastic.checkpoint.ElasticCheckpoint`.
    """

    passes: Tensor

    def __init__(self, encoder: Encoder, paths: Paths, length: int, seed: int) -> None:
        super().__init__()
        self.paths, self._teacher, self._price = paths, encoder.architecture, counted(length)
        self._whole = macs(encoder.architecture, Workload(1, length))
        self.register_buffer("passes", torch.zeros((), dtype=torch.float64))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.blocks = nn.ModuleList(self._block() for _ in range(paths.blocks))
            self.apply(_initialised)

    def _block(self) -> nn.ModuleDict:
        found: dict[str, nn.Module] = {}
        wide = self._teacher.hidden
        for hidden in self.paths.hidden:
            found[f"in-{hidden}"] = self._layer(Projection(hidden), wide)
            found[f"out-{hidden}"] = self._layer(Projection(wide), hidden)
            for place in range(self.paths.length):
                for kind in KINDS:
                    operators = sub_layer(kind, hidden, self.paths.head_dim)
                    layers = (self._layer(operator, hidden) for operator in operators)
                    found[f"{hidden}-{place}-{kind}"] = nn.ModuleList(layers)
        return nn.ModuleDict(found)

    def _layer(self, operator: Operator, hidden: int) -> nn.Module:
        return make_layer(operator, hidden, self._teacher)

    def layers(self, number: int, path: Path) -> list[nn.Module]:
        """Of one block, from the layer that leads into it to the one that leads out of it."""
        block = self.blocks[number]
        found = [block[f"in-{path.hidden}"]]
        for place, kind in enumerate(path.kinds):
            found += block[f"{path.hidden}-{place}-{kind}"]
        return [*found, block[f"out-{path.hidden}"]]

    def forward(self, number: int, path: Path, states: Tensor, mask: Tensor) -> Tensor:
        """What a path of one block makes of the states before it; ``mask`` is additive."""
        for layer in self.layers(number, path):
            states = layer(states, mask)
        return states

    def count(self, examples: float, chosen: Iterable[Path]) -> None:
        """That these were passed, forward and back."""
        prices = (self.paths.price(path, self._teacher, self._price) for path in chosen)
        self.passes += examples * sum(prices) / self._whole

    def networks(
        self, encoder: Encoder, choices: Iterable[Sequence[Path]], rank: int
    ) -> Iterator[Encoder]:
        """Of each choice, a path for every block, the network with what they learnt; the rest is the
        encoder's."""
        operators = encoder.architecture.operators
        table = Trunk(rank=rank if rank < encoder.architecture.table[1] else None)
        dense = ElasticEncoder(encoder).extract(operators, table)
        known = {
            name: tensor
            for name, tensor in dense.state_dict().items()
            if not name.startswith("operators.")
        }
        for chosen in choices:
            architecture = self.paths.architecture(encoder.architecture, chosen, rank)
            found = Encoder(architecture, encoder.label_names, encoder.dropout.p)
            found.load_state_dict(known, strict=False)
            learnt = [self.layers(number, path) for number, path in enumerate(chosen)]
            for target, source in zip(found.operators, _joined(learnt), strict=True):
                target.load_state_dict(source.state_dict())
            yield found.eval()


def _joined(blocks: Sequence[Sequence[nn.Module]]) -> list[nn.Module]:
    """The layers one after the other; what leads out of a block and into the next is one linear layer."""
    found = list(blocks[0][:-1])
    for before, after in pairwise(blocks):
        outward, inward = before[-1].linear, after[0].linear
        joint = copy.deepcopy(after[0])
        joint.linear = nn.Linear(outward.in_features, inward.out_features)
        with torch.no_grad():
            joint.linear.weight.copy_(inward.weight @ outward.weight)
            joint.linear.bias.copy_(inward.weight @ outward.bias + inward.bias)
        found += [joint, *after[1:-1]]
    return [*found, blocks[-1][-1]]


class Prefixes:
    """Paths in sorted order begin as the one before did; what they have in common is computed once."""

    def __init__(self, blocks: Blocks, number: int, given: Tensor, mask: Tensor) -> None:
        self._blocks, self._number, self._given, self._mask = blocks, number, given, mask
        self._path, self._states = Path(0, ()), [given]

    def __call__(self, path: Path) -> Tensor:
        layers = self._blocks.layers(self._number, path)
        into, *middle, out = layers
        same = 0
        if path.hidden == self._path.hidden:
            pairs = zip(path.kinds, self._path.kinds, strict=False)
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        else:
            self._states = [into(self._given, self._mask)]
        del self._states[same + 1 :]
        head = self._blocks.paths.head_dim
        ends = np.cumsum([0, *(len(sub_layer(kind, path.hidden, head)) for kind in path.kinds)])
        for place in range(same, len(path.kinds)):
            states = self._states[-1]
            for layer in middle[ends[place] : ends[place + 1]]:
                states = layer(states, self._mask)
            self._states.append(states)
        self._path = path
        found: Tensor = out(self._states[-1], self._mask)
        return found


def additive(mask: Tensor, states: Tensor) -> Tensor:
    """[batch, 1, 1, sequence], as :meth:`deploy.encoder.Encoder.embed` gives it."""
    lowest = torch.finfo(states.dtype).min
    return (1 - mask[:, None, None, :].to(states.dtype)) * lowest


def counted(length: int) -> Price:
    """Multiply-accumulates at this length."""
    workload = Workload(1, length)
    return lambda operator, hidden: operator_cost(operator, hidden, workload).macs


def _initialised(module: nn.Module) -> None:
    """What leads into and out of a block keeps lengths, as nothing carries the states past it; a
    convolution over the tokens keeps their size."""
    if isinstance(module, ProjectionLayer):
        nn.init.orthogonal_(module.linear.weight)
        nn.init.zeros_(module.linear.bias)
    elif isinstance(module, nn.Conv1d):
        fan = module.kernel_size[0]
        nn.init.normal_(module.weight, std=math.sqrt(1 / fan))

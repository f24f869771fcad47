"""Sub-networks that compute with the elastic encoder's own weights, and train them.

Masks (elastic.masks) compute everything and multiply what is not wanted by zero. Here a sub-network is
the plain encoder that would be extracted, called with views of the dense weights: it takes the time and
the memory of its own size, and its gradients are those of the dense weights.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from deploy.encoder import Encoder
from deploy.layers import AttentionLayer
from elastic.elastic_encoder import ElasticEncoder
from elastic.masks import spreading
from elastic.space import Chain
from elastic.trunk import DENSE, Trunk

REMEMBERED = 256  # structures of sub-networks, which have no weights


class Seen(NamedTuple):
    """What an encoder made of a batch.

    Attributes:
        states: what its first sub-layer was given, and what each gave: [batch, sequence, hidden] each.
        projected: queries, keys and values of its last attention, [batch, sequence, heads · head_dim]
            each; empty where it has none.
        outputs: as :meth:`deploy.encoder.Encoder.forward`.
    """

    states: tuple[Tensor, ...]
    projected: tuple[Tensor, ...]
    outputs: Tensor


class Seeing(nn.Module):
    """An encoder whose every state is seen."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, inputs: dict[str, Tensor]) -> Seen:
        """``inputs`` as of :meth:`deploy.encoder.Encoder.forward`, with a mask."""
        encoder = self.encoder
        attentions = [layer for layer in encoder.operators if isinstance(layer, AttentionLayer)]
        projected: list[Tensor] = []
        states, mask = encoder.embed(**inputs)
        found = [states]
        with ExitStack() as stack:
            for linear in spreading(attentions[-1]) if attentions else []:
                handle = linear.register_forward_hook(lambda _m, _i, out: projected.append(out))
                stack.callback(handle.remove)
            for operator in encoder.operators:
                states = operator(states, mask)
                found.append(states)
        outputs = encoder.head(encoder.last_norm(states), inputs["attention_mask"])
        return Seen(tuple(found), tuple(projected), outputs)


class Views:
    """Calls the sub-networks of ``elastic`` with its weights; dropout as ``elastic`` itself is set."""

    def __init__(self, elastic: ElasticEncoder) -> None:
        self._elastic = elastic
        self._structure = lru_cache(REMEMBERED)(self._make)

    def __call__(self, inputs: dict[str, Tensor], chain: Chain, trunk: Trunk = DENSE) -> Seen:
        """Of the sub-network ``chain`` on ``trunk``; raises UsageError where there is none such."""
        structure = self._structure(chain, trunk).train(self._elastic.dense.training)
        weights = self._elastic.weights(structure.encoder, chain, trunk)
        named = {f"encoder.{name}": tensor for name, tensor in weights.items()}
        seen: Any = functional_call(structure, named, (inputs,))
        return Seen(*seen)

    def _make(self, chain: Chain, trunk: Trunk) -> Seeing:
        architecture = self._elastic.architecture_of(chain, trunk)
        with torch.device("meta"):
            return Seeing(Encoder(architecture, dropout=self._elastic.dense.dropout.p))

"""The elastic encoder: dense weights in importance order, and the sub-networks within them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deploy.architecture import Architecture, Operator
from deploy.encoder import Encoder
from deploy.layers import AttentionLayer, FeedForwardLayer
from devices.errors import UsageError
from elastic.extraction import Weights, named_tensors, weights_of
from elastic.masks import Layer, prefixed, skipped
from elastic.rewiring import reorder_stream, reorder_units, turn_heads
from elastic.space import Chain, is_part, size_of
from elastic.trunk import DENSE, Trunk, Vocabulary, stream_width
from elastic.trunk_masks import merged, narrowed, projected

Importance = Sequence[np.ndarray[Any, Any]]
"""Per position, what each head or neuron is worth: [heads] or [width]."""


class ElasticEncoder(nn.Module):
    """A copy of ``encoder`` whose heads and neurons stand in descending importance.

    The first k heads (w neurons) of a sub-layer are therefore the ones to keep, and the function is
    the encoder's own. The encoder given is left as it is. Weights that sub-layers of it share are told
    apart here, each in an order of its own; sub-layers extracted uncut share them again.

    Args:
        encoder: the dense encoder.
        importance: per position; None keeps the order that the encoder has.
        stream: what each dimension of the residual stream is worth, [hidden]; None keeps their order.
        vocabulary: the order of token ids; without it the table of tokens keeps its rows.
        turned: whether the dimensions inside every head are turned so that the first ones carry most,
            for sub-networks with smaller heads.

    Raises:
        UsageError: importance, stream or vocabulary are not of this encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        importance: Importance | None = None,
        *,
        stream: np.ndarray[Any, Any] | None = None,
        vocabulary: Vocabulary | None = None,
        turned: bool = False,
    ) -> None:
        super().__init__()
        self._given = encoder.architecture
        self.dense = copy.deepcopy(encoder).eval()
        self._vocabulary = vocabulary
        if vocabulary is not None:
            _check_sizes("Vocabulary", [len(vocabulary.order)], [self._given.vocabulary])
        if stream is not None:
            _check_sizes("Stream importance", [len(stream)], [stream_width(self._given)])
            reorder_stream(self.dense, _falling(stream))
        if turned:
            for layer in dict.fromkeys(_owners(self.dense)):
                if isinstance(layer, AttentionLayer):
                    turn_heads(layer)
        self._shared = copy.deepcopy(self.dense.operators) if self._given.shares else None
        if self._shared is not None:
            self.dense.operators = nn.ModuleList(map(copy.deepcopy, self.dense.operators))
            self.dense.architecture = replace(self._given, shares=())
        if importance is not None:
            sizes = [size_of(operator) for operator in self._given.operators]
            _check_sizes("Importance", [len(values) for values in importance], sizes)
            for layer, values in zip(self.dense.operators, importance, strict=True):
                if isinstance(layer, (AttentionLayer, FeedForwardLayer)):
                    reorder_units(layer, _falling(values))

    @property
    def architecture(self) -> Architecture:
        """The dense architecture."""
        return self._given

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Logits as :meth:`deploy.encoder.Encoder.forward`: of the dense encoder, or inside
        :meth:`active` of the sub-network."""
        logits: Tensor = self.dense(input_ids, attention_mask, token_type_ids)
        return logits

    @contextmanager
    def active(self, chain: Chain, trunk: Trunk = DENSE) -> Iterator[None]:
        """Compute as the sub-network ``chain`` on ``trunk`` would while the block runs, by masking.

        Raises UsageError where the dense encoder has no such sub-network.
        """
        self._check(chain, trunk)
        with ExitStack() as stack:
            if trunk.hidden is not None:
                stack.enter_context(narrowed(self.dense, trunk.hidden))
            if trunk.rank is not None:
                basis = self._basis[: trunk.rank]
                stack.enter_context(projected(self.dense, basis.T @ basis))
            if trunk.rows is not None and self._vocabulary is not None:
                rows = torch.from_numpy(self._vocabulary.merged(trunk.rows))
                stack.enter_context(merged(self.dense, rows.to(self.dense.tokens.weight.device)))
            for layer, dense, operator in self._positions(chain):
                if operator is None:
                    stack.enter_context(skipped(layer))
                elif operator != dense:
                    stack.enter_context(prefixed(layer, dense, operator))
            yield

    def extract(self, chain: Chain, trunk: Trunk = DENSE) -> Encoder:
        """The sub-network ``chain`` on ``trunk`` as a plain, physically small encoder in evaluation mode.

        Raises UsageError where the dense encoder has no such sub-network.
        """
        small = Encoder(
            self.architecture_of(chain, trunk), self.dense.label_names, self.dense.dropout.p
        )
        weights = self.weights(small, chain, trunk)
        with torch.no_grad():
            for name, tensor in named_tensors(small):
                tensor.copy_(weights[name])
        return small.eval()

    def architecture_of(self, chain: Chain, trunk: Trunk = DENSE) -> Architecture:
        """Of a sub-network; raises UsageError where the dense encoder has no such one."""
        self._check(chain, trunk)
        return trunk.of(self.architecture).with_operators(trunk.chain(chain))

    def weights(self, small: Encoder, chain: Chain, trunk: Trunk = DENSE) -> Weights:
        """The weights that ``small``, of that sub-network's architecture, is to have, by name: parts of
        those of this encoder, as views."""
        kept = [
            layer if self._shared is None or operator != dense else self._shared[position]
            for position, (layer, dense, operator) in enumerate(self._positions(chain))
            if operator is not None
        ]
        ids = None
        if trunk.rows is not None and self._vocabulary is not None:
            places = self._vocabulary.kept(trunk.rows), self._vocabulary.row_of(trunk.rows)
            ids = torch.from_numpy(places[0]), torch.from_numpy(places[1])
        basis = None if trunk.rank is None else self._basis[: trunk.rank]
        return weights_of(small, self.dense, kept, ids, basis)

    @cached_property
    def _basis(self) -> Tensor:
        """Orthonormal rows [columns, columns] that span the table of tokens, the first most of it."""
        table = self.dense.tokens.weight.detach().double()
        _, vectors = torch.linalg.eigh(table.T @ table)
        return vectors.flip(1).T.to(self.dense.tokens.weight.dtype)

    def _positions(self, chain: Chain) -> list[tuple[Layer, Operator, Operator | None]]:
        layers: list[Layer] = list(self.dense.operators)
        return list(zip(layers, self.architecture.operators, chain, strict=True))

    def _check(self, chain: Chain, trunk: Trunk) -> None:
        operators = self.architecture.operators
        if len(chain) != len(operators):
            raise UsageError(
                f"A chain of {len(chain)} sub-layers is given where the encoder has "
                f"{len(operators)}; write None for a dropped one."
            )
        for position, (dense, operator) in enumerate(zip(operators, chain, strict=True)):
            if operator is not None and not is_part(operator, dense):
                raise UsageError(
                    f"{operator} at position {position} is no part of the dense {dense}; keep its "
                    "kind and all but its size, and the head size of one with rotary positions."
                )
        trunk.of(self.architecture)
        if trunk.rows is not None and (self._vocabulary is None or self.architecture.rows):
            raise UsageError(
                "The table of tokens can be cut once, where the order of token ids is known; give "
                "ElasticEncoder a vocabulary, and the encoder that was not cut."
            )


def _owners(encoder: Encoder) -> list[Layer]:
    """For every position the layer whose weights it uses."""
    layers: list[Layer] = list(encoder.operators)
    return [layers[first] for first in encoder.architecture.shares] or layers


def _falling(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.argsort(-np.asarray(values), kind="stable")


def _check_sizes(what: str, given: list[int], expected: list[int]) -> None:
    if given != expected:
        raise UsageError(
            f"{what} of sizes {given} is not of this encoder; expected one value per unit: {expected}."
        )

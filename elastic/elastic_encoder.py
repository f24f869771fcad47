"""The elastic encoder: dense weights in importance order, and the sub-networks within them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deploy.architecture import Architecture, Operator
from deploy.encoder import Encoder
from deploy.layers import AttentionLayer, FeedForwardLayer
from devices.errors import UsageError
from elastic.masks import Layer, gathering, scaled, skipped, spreading
from elastic.space import Chain, resized, size_of

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

    Raises:
        UsageError: the importance is not of this encoder.
    """

    def __init__(self, encoder: Encoder, importance: Importance | None = None) -> None:
        super().__init__()
        self._given = encoder.architecture
        self._shared = copy.deepcopy(encoder.operators) if self._given.shares else None
        self.dense = copy.deepcopy(encoder).eval()
        if self._shared is not None:
            self.dense.operators = nn.ModuleList(map(copy.deepcopy, self.dense.operators))
            self.dense.architecture = replace(self._given, shares=())
        if importance is not None:
            _check_importance(importance, encoder.architecture)
            for layer, values in zip(self.dense.operators, importance, strict=True):
                if isinstance(layer, (AttentionLayer, FeedForwardLayer)):
                    _reorder(layer, np.argsort(-np.asarray(values), kind="stable"))

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
    def active(self, chain: Chain) -> Iterator[None]:
        """Compute as the sub-network ``chain`` would while the block runs, by masking.

        Raises UsageError where ``chain`` is no sub-network of the dense chain.
        """
        self._check(chain)
        with ExitStack() as stack:
            for layer, dense, operator in self._positions(chain):
                if operator is None:
                    stack.enter_context(skipped(layer))
                elif operator != dense:
                    like = gathering(layer).weight
                    units = torch.arange(size_of(dense), device=like.device)
                    mask = (units < size_of(operator)).to(like.dtype)
                    stack.enter_context(scaled(layer, mask))
            yield

    def extract(self, chain: Chain) -> Encoder:
        """The sub-network ``chain`` as a plain, physically small encoder in evaluation mode.

        Raises UsageError where ``chain`` is no sub-network of the dense chain.
        """
        self._check(chain)
        architecture = self.architecture.with_operators(chain)
        small = Encoder(architecture, self.dense.label_names, self.dense.dropout.p)
        kept = [
            layer if self._shared is None or operator != dense else self._shared[position]
            for position, (layer, dense, operator) in enumerate(self._positions(chain))
            if operator is not None
        ]
        weights = {
            k: v for k, v in self.dense.state_dict().items() if not k.startswith("operators.")
        }
        with torch.no_grad():
            small.load_state_dict(weights, strict=False)
            for source, target in zip(kept, small.operators, strict=True):
                _copy_prefix(source, target)
        return small.eval()

    def _positions(self, chain: Chain) -> list[tuple[Layer, Operator, Operator | None]]:
        layers: list[Layer] = list(self.dense.operators)
        return list(zip(layers, self.architecture.operators, chain, strict=True))

    def _check(self, chain: Chain) -> None:
        operators = self.architecture.operators
        if len(chain) != len(operators):
            raise UsageError(
                f"A chain of {len(chain)} sub-layers is given where the encoder has "
                f"{len(operators)}; write None for a dropped one."
            )
        for position, (dense, operator) in enumerate(zip(operators, chain, strict=True)):
            if operator is not None and not _is_part(operator, dense):
                raise UsageError(
                    f"{operator} at position {position} is no part of the dense {dense}; keep its "
                    "kind and all but its size."
                )


def _is_part(operator: Operator, dense: Operator) -> bool:
    return size_of(operator) <= size_of(dense) and resized(dense, size_of(operator)) == operator


def _check_importance(importance: Importance, architecture: Architecture) -> None:
    given = [len(values) for values in importance]
    expected = [size_of(operator) for operator in architecture.operators]
    if given != expected:
        raise UsageError(
            f"Importance of sizes {given} is not of this encoder; expected one value per head or "
            f"neuron: {expected}."
        )


def _reorder(layer: AttentionLayer | FeedForwardLayer, order: np.ndarray[Any, Any]) -> None:
    """Put the units of ``layer`` into ``order``; what it computes stays the same."""
    reading = gathering(layer)
    with torch.no_grad():
        rows = torch.arange(reading.in_features).unflatten(0, (len(order), -1))
        index = rows[torch.from_numpy(order)].flatten().to(reading.weight.device)
        for linear in spreading(layer):
            linear.weight.copy_(linear.weight[index])
            linear.bias.copy_(linear.bias[index])
        reading.weight.copy_(reading.weight[:, index])


def _copy_prefix(source: Layer, target: Layer) -> None:
    """Fill ``target`` with the first units of ``source``."""
    wide = dict(source.named_parameters())
    for name, parameter in target.named_parameters():
        parameter.copy_(wide[name][tuple(slice(size) for size in parameter.shape)])

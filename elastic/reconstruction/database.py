"""What every sub-layer could be at every size: the order of its units, and its weights refitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.linalg
import torch

from deploy.architecture import Attention, Operator
from deploy.encoder import Encoder
from elastic.elastic_encoder import ElasticEncoder
from elastic.masks import gathering
from elastic.reconstruction.elimination import columns_of, damped, eliminate, refit
from elastic.reconstruction.moments import Moments
from elastic.space import size_of

Array = np.ndarray[Any, Any]
FEW = 32  # units that go one by one


def worth_by_elimination(encoder: Encoder, moments: Sequence[Moments]) -> list[Array]:
    """Per position what each unit is worth, by rank: float64 [heads] or [width].

    Units are eliminated level by level with the others refitted (elastic.reconstruction.elimination),
    errors of what the sub-layer adds being weighed by the curvature of the loss: tr(G Δ H Δᵀ), the
    Kronecker-factored Hessian of Martens & Grosse 2015 (arXiv 1503.05671).
    """
    pairs = zip(encoder.operators, encoder.architecture.operators, moments, strict=True)
    return [_ranks(gathering(layer), size_of(operator), m) for layer, operator, m in pairs]


def _ranks(linear: torch.nn.Linear, units: int, moments: Moments) -> Array:
    root = scipy.linalg.cholesky(damped(moments.curvature), lower=True)
    weight = root.T @ linear.weight.detach().double().cpu().numpy()
    found = eliminate(weight, moments.covariance, units, _levels(units))
    ranks = np.empty(units)
    ranks[found.order] = np.arange(units, 0, -1)
    return ranks


def _levels(units: int) -> list[int]:
    if units <= FEW:
        return list(range(units, 0, -1))
    return sorted({int(size) for size in np.geomspace(units, units / 16, 13)}, reverse=True)


class Database:
    """The refitted weights of every sub-layer of ``elastic`` at every size.

    Args:
        moments: of ``elastic.dense``, its units in its order.
    """

    def __init__(self, elastic: ElasticEncoder, moments: Sequence[Moments]) -> None:
        self._linears = [gathering(layer) for layer in elastic.dense.operators]
        self._operators = elastic.architecture.operators
        self._grams = [damped(m.gram) for m in moments]
        self._targets = [
            np.column_stack([linear.weight.detach().double().cpu(), linear.bias.detach().cpu()])
            @ gram
            for linear, gram in zip(self._linears, self._grams, strict=True)
        ]

    @contextmanager
    def fitted(self, position: int, operator: Operator) -> Iterator[None]:
        """Weights that are best with what ``operator`` keeps of the sub-layer, while the block runs."""
        linear, gram = self._linears[position], self._grams[position]
        before = linear.weight.detach().clone(), linear.bias.detach().clone()
        columns = _columns(self._operators[position], operator, linear.in_features)
        found = refit(self._targets[position], gram, np.append(columns, len(gram) - 1))
        try:
            with torch.no_grad():
                linear.weight[:, columns] = torch.from_numpy(found[:, :-1]).to(linear.weight)
                linear.bias.copy_(torch.from_numpy(found[:, -1]))
            yield
        finally:
            with torch.no_grad():
                linear.weight.copy_(before[0])
                linear.bias.copy_(before[1])


def _columns(dense: Operator, operator: Operator, inputs: int) -> Array:
    """Those of the ``inputs`` of a sub-layer's last linear layer that ``operator`` keeps."""
    inner = inputs // size_of(dense)
    kept = operator.head_dim if isinstance(operator, Attention) else inner
    return columns_of(np.arange(size_of(operator)), inner).reshape(-1, inner)[:, :kept].ravel()

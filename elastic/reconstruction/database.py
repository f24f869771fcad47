"""What every sub-layer could be at every size: the order of its units, and its weights refitted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.linalg
import torch
from torch import nn

from deploy.architecture import Attention, Operator
from deploy.encoder import Encoder
from devices.runtimes import Arrays
from elastic.elastic_encoder import ElasticEncoder
from elastic.masks import gathering
from elastic.reconstruction.elimination import columns_of, damped, eliminate, refit
from elastic.reconstruction.moments import Moments, second_moments
from elastic.space import Chain, size_of

Array = np.ndarray[Any, Any]
Weights = tuple[torch.Tensor, torch.Tensor]  # of a linear layer, and its bias
FEW = 32  # units that go one by one
LEVELS = 13  # at which more are refitted exactly, from all to a sixteenth
REMEMBERED = 2**28  # bytes of refitted weights that are kept


def eliminated(
    dense: Encoder, batches: Sequence[Arrays], *, seed: int = 0
) -> tuple[ElasticEncoder, Database]:
    """``dense`` with its units in the order of their elimination, and the database of its sub-layers.

    Args:
        batches: int64 arrays [batch, sequence] as Task.batches gives them; no labels are used.

    Raises UsageError where there is no batch.
    """
    moments = second_moments(dense, batches, seed=seed)
    orders = []
    for place, (layer, operator) in enumerate(
        zip(dense.operators, dense.architecture.operators, strict=True)
    ):
        linear, units = gathering(layer), size_of(operator)
        order = _order(linear, units, moments[place])
        columns = columns_of(order, linear.in_features // units)
        moments[place] = moments[place].reordered(columns)  # large, so there are never two of each
        orders.append(order)
    # The place of a unit in the order, turned round, is what it is worth.
    elastic = ElasticEncoder(dense, [-np.argsort(order) for order in orders])
    return elastic, Database(elastic, moments)


def _order(linear: nn.Linear, units: int, moments: Moments) -> Array:
    """The units, the last to go first.

    They are eliminated with the others refitted (elastic.reconstruction.elimination), the error of what
    the sub-layer adds being weighed by the curvature of the loss: tr(G Δ H Δᵀ), the Kronecker-factored
    Hessian of Martens & Grosse 2015 (arXiv 1503.05671).
    """
    root = scipy.linalg.cholesky(damped(moments.curvature), lower=True)
    weight = root.T @ linear.weight.detach().double().cpu().numpy()
    return eliminate(weight, moments.covariance, units, _levels(units))


def _levels(units: int) -> list[int]:
    if units <= FEW:
        return list(range(units, 0, -1))
    return sorted({int(size) for size in np.geomspace(units, units / 16, LEVELS)}, reverse=True)


class Database:
    """The refitted weights of every sub-layer of ``elastic`` at every size.

    Args:
        moments: of ``elastic.dense``, its units in its order, with Gram matrices that can be inverted.
    """

    def __init__(self, elastic: ElasticEncoder, moments: Sequence[Moments]) -> None:
        self._linears = [gathering(layer) for layer in elastic.dense.operators]
        self._operators = elastic.architecture.operators
        self._curvatures = [m.curvature for m in moments]
        self._grams = [m.gram for m in moments]
        self._weights = [_joined(linear) for linear in self._linears]
        pairs = zip(self._weights, self._grams, strict=True)
        self._targets = [weight @ gram for weight, gram in pairs]
        self._known: OrderedDict[tuple[int, Operator], Weights] = OrderedDict()

    @contextmanager
    def fitted(self, chain: Chain) -> Iterator[None]:
        """The weights that are best with what ``chain`` keeps of each sub-layer, while the block runs."""
        before = {}
        try:
            for place, operator in enumerate(chain):
                if operator is not None and operator != self._operators[place]:
                    weights = self._placed(place, operator)
                    before[place] = _swapped(self._linears[place], weights)
            yield
        finally:
            for place, weights in before.items():
                _swapped(self._linears[place], weights)

    def errors(self, position: int, operators: Sequence[Operator]) -> Array:
        """½ tr(G Δ H Δᵀ) of every one of ``operators`` at ``position``, with its weights refitted.

        To a factor that the sub-layers' tokens have in common, and their correlation, the divergence
        from the dense encoder in nats.
        """
        target, curvature = self._targets[position], self._curvatures[position]
        whole = np.sum(curvature * (target @ self._weights[position].T))
        found = []
        for operator in operators:
            columns = self._columns(position, operator)
            fitted = refit(target, self._grams[position], columns)
            found.append(0.5 * (whole - np.sum(curvature * (target[:, columns] @ fitted.T))))
        return np.maximum(found, 0.0)

    def _placed(self, position: int, operator: Operator) -> Weights:
        """What :meth:`fitted` puts in place; inputs that ``operator`` does not keep stay as they are."""
        kept, bias = self._refitted(position, operator)
        weight = self._linears[position].weight.detach().clone()
        weight[:, self._columns(position, operator)[:-1]] = kept
        return weight, bias

    def _refitted(self, position: int, operator: Operator) -> Weights:
        """Weights of the inputs that ``operator`` keeps; remembered, since sub-networks that are compared
        with one another have much in common."""
        key = position, operator
        if key not in self._known:
            columns = self._columns(position, operator)
            found = refit(self._targets[position], self._grams[position], columns)
            whole = torch.from_numpy(found).to(self._linears[position].weight)
            self._known[key] = whole[:, :-1], whole[:, -1].clone()
            while len(self._known) > 1 and self._bytes() > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _bytes(self) -> int:
        return sum(weight.nbytes for weight, _ in self._known.values())

    def _columns(self, position: int, operator: Operator) -> Array:
        """The inputs of a sub-layer's last linear layer that ``operator`` keeps, and the constant."""
        inputs = self._linears[position].in_features
        inner = inputs // size_of(self._operators[position])
        kept = operator.head_dim if isinstance(operator, Attention) else inner
        columns = columns_of(np.arange(size_of(operator)), inner).reshape(-1, inner)
        return np.append(columns[:, :kept].ravel(), inputs)


def _joined(linear: nn.Linear) -> Array:
    """Weight and bias side by side: float64 [out, in + 1]."""
    parts = linear.weight.detach().cpu(), linear.bias.detach().cpu()
    return np.column_stack([part.double().numpy() for part in parts])


def _swapped(linear: nn.Linear, weights: Weights) -> Weights:
    """Give ``linear`` the tensors ``weights`` for its own, which are returned."""
    own = linear.weight.data, linear.bias.data
    linear.weight.data, linear.bias.data = weights
    return own

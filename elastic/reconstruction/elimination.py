"""Level-wise optimal-brain-surgeon elimination of the units of one linear layer.

The layer reads units x_1 … x_n (heads, neurons), and W x is what they add to the residual stream. With
H = E[x xᵀ] and a set R of units kept, the best weights for what is left are, in closed form,

    W_R = W H_{:,R} H_RR⁻¹,     E‖W x − W_R x_R‖² = tr(W H Wᵀ) − tr(W_R H_{R,:} Wᵀ).

Removing unit S from R costs tr(W_S ((H_RR⁻¹)_SS)⁻¹ W_Sᵀ) more (Hassibi & Stork 1993; of groups, ZipLM,
arXiv 2302.04089, equation 2). As in ZipLM one unit goes at a time, or of two that replace each other
both would; here with one exact factorisation a level, and within it rank-one updates of the units alone
that may go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from devices.errors import UsageError

Array = np.ndarray[Any, Any]

DAMPING = (
    1e-4  # of the mean of the diagonal: what a rank-deficient calibration set does not determine
)
CANDIDATES = 2  # times as many units as go at a level are looked at within it


@dataclass(frozen=True, eq=False)
class Elimination:
    """The units of one layer in the order in which they are worth keeping.

    Attributes:
        order: [units], the last to go first.
        sizes: kept units per level, falling, the first is all.
        errors: per level, E‖W x − W_R x_R‖² over E‖W x‖²: 0 with all units kept, 1 with none.
    """

    order: Array
    sizes: tuple[int, ...]
    errors: Array


def damped(gram: Array) -> Array:
    """A Gram matrix that can be inverted, in float64.

    Raises UsageError where it is not of finite numbers.
    """
    if not np.isfinite(gram).all():
        raise UsageError(
            "The calibration inputs hold numbers that are not finite; check the weights."
        )
    scale = float(np.trace(gram)) / len(gram)
    return gram.astype(np.float64) + (DAMPING * scale or 1.0) * np.eye(len(gram))


def eliminate(weight: Array, gram: Array, units: int, sizes: Sequence[int]) -> Elimination:
    """Remove units of least worth, level by level.

    Args:
        weight: [out, units * inner] of the layer that reads the units.
        gram: [units * inner] squared, E[x xᵀ] of its inputs.
        sizes: units to keep per level, falling; 0 is allowed.

    Raises:
        UsageError: a Gram matrix of other than finite numbers.
    """
    weight, gram = weight.astype(np.float64), damped(gram)
    inner = weight.shape[1] // units
    target = weight @ gram  # [out, in]
    whole = float(np.sum(target * weight))
    kept = np.arange(units)
    gone: list[int] = []  # the first to go first
    errors = []
    for size in sizes:
        if size < len(kept):
            going = _going(target, gram, kept, inner, len(kept) - size)
            gone += kept[going].tolist()
            kept = np.delete(kept, going)
        errors.append(_error(target, gram, kept, inner, whole))
    order = np.array([*_by_worth(target, gram, kept, inner), *reversed(gone)])
    return Elimination(order, tuple(sizes), np.array(errors))


def refit(target: Array, gram: Array, columns: Array) -> Array:
    """[out, len(columns)]: the least-squares weights on ``columns`` of the inputs.

    Args:
        target: [out, in], E[y xᵀ] of what is to be matched; W H where that is W x.
        gram: [in, in], damped.
    """
    factor = scipy.linalg.cho_factor(gram[np.ix_(columns, columns)])
    fitted: Array = scipy.linalg.cho_solve(factor, target[:, columns].T).T
    return fitted


def columns_of(units: Array, inner: int) -> Array:
    """The inputs that belong to ``units``, in their order."""
    return (np.asarray(units, dtype=np.int64)[:, None] * inner + np.arange(inner)).ravel()


def _going(target: Array, gram: Array, kept: Array, inner: int, count: int) -> Array:
    """Places in ``kept`` of the units that go, the first to go first."""
    if inner > 1 or count == 1:  # heads are so few that they go one by one
        found: Array = np.argsort(_scores(target, gram, kept, inner), kind="stable")[:count]
        return found
    inverse = _inverse(gram, kept)
    weight = target[:, kept] @ inverse
    scores = np.square(weight).sum(0) / inverse.diagonal()
    some = np.argsort(scores, kind="stable")[: CANDIDATES * count]
    return some[_one_by_one(inverse[np.ix_(some, some)], weight[:, some].T.copy(), count)]


def _one_by_one(inverse: Array, weight: Array, count: int) -> Array:
    """The units of least worth, each with the others refitted after those before it.

    Args:
        inverse: [units, units] of the Gram matrix; it becomes ``inverse - downs @ downs.T``.
        weight: [units, out], changed in place.
    """
    downs = np.zeros((len(weight), count))
    diagonal = inverse.diagonal().copy()
    norms = np.square(weight).sum(1)
    gone: list[int] = []
    for number in range(count):
        with np.errstate(divide="ignore", invalid="ignore"):
            worth = norms / diagonal
        worth[gone] = np.inf
        unit = int(np.argmin(worth))
        gone.append(unit)
        row = inverse[unit] - downs[:, :number] @ downs[unit, :number]
        share = row / row[unit]
        norms += share * (share * norms[unit] - 2 * (weight @ weight[unit]))
        weight -= np.outer(share, weight[unit])
        downs[:, number] = row / np.sqrt(row[unit])
        diagonal -= np.square(downs[:, number])
    return np.array(gone)


def _inverse(gram: Array, columns: Array) -> Array:
    factor = scipy.linalg.cho_factor(gram[np.ix_(columns, columns)])
    found: Array = scipy.linalg.cho_solve(factor, np.eye(len(columns)))
    return found


def _scores(target: Array, gram: Array, kept: Array, inner: int) -> Array:
    """What removing each of ``kept`` costs, with the others refitted."""
    columns = columns_of(kept, inner)
    inverse = _inverse(gram, columns)
    weight = target[:, columns] @ inverse
    blocks = inverse.reshape(len(kept), inner, len(kept), inner)
    own = blocks[np.arange(len(kept)), :, np.arange(len(kept)), :]  # [kept, inner, inner]
    parts = weight.reshape(len(weight), len(kept), inner).transpose(1, 2, 0)  # [kept, inner, out]
    scores: Array = np.einsum("kio,kio->k", parts, np.linalg.solve(own, parts))
    return scores


def _by_worth(target: Array, gram: Array, kept: Array, inner: int) -> list[int]:
    """``kept``, the most costly to remove first."""
    if len(kept) < 2:
        return [int(unit) for unit in kept]
    scores = _scores(target, gram, kept, inner)
    return [int(unit) for unit in kept[np.argsort(-scores, kind="stable")]]


def _error(target: Array, gram: Array, kept: Array, inner: int, whole: float) -> float:
    if not len(kept):
        return 1.0
    columns = columns_of(kept, inner)
    fitted = refit(target, gram, columns)
    explained = float(np.sum(fitted * target[:, columns]))
    return float(np.clip(1 - explained / whole, 0.0, 1.0)) if whole > 0 else 0.0

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
from typing import Any

import numpy as np
import scipy.linalg

from devices.errors import UsageError

Array = np.ndarray[Any, Any]

# Of the mean of the diagonal: what a rank-deficient calibration set does not determine.
DAMPING = 1e-4
CANDIDATES = 2  # times as many units as go at a level are looked at within it


def damped(gram: Array) -> Array:
    """A Gram matrix that can be inverted, in float64.

    Raises UsageError where it is not of finite numbers.
    """
    if not np.isfinite(gram).all():
        raise UsageError(
            "The calibration inputs hold numbers that are not finite; check the weights."
        )
    scale = float(np.trace(gram)) / len(gram)
    found = gram.astype(np.float64)
    found[np.diag_indices_from(found)] += DAMPING * scale or 1.0
    return found


def eliminate(weight: Array, gram: Array, units: int, sizes: Sequence[int]) -> Array:
    """The units in the order in which they are worth keeping, the last to go first: int64 [units].

    Args:
        weight: [out, units * inner] of the layer that reads the units.
        gram: [units * inner] squared, E[x xᵀ] of its inputs.
        sizes: units that are left at each level, falling; what is left at the last is ordered by worth.

    Raises:
        UsageError: a Gram matrix of other than finite numbers.
    """
    gram = damped(gram)
    inner = weight.shape[1] // units
    target = weight.astype(np.float64) @ gram  # [out, in]
    kept = np.arange(units)
    gone: list[int] = []  # the first to go first
    for size in sizes:
        if size < len(kept):
            going = _going(target, gram, kept, inner, len(kept) - size)
            gone += kept[going].tolist()
            kept = np.delete(kept, going)
    return np.array([*_by_worth(target, gram, kept, inner), *reversed(gone)], dtype=np.int64)


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
    return some[
        _one_by_one(inverse[np.ix_(some, some)], weight[:, some].T @ weight[:, some], count)
    ]


def _one_by_one(inverse: Array, products: Array, count: int) -> Array:
    """The units of least worth, each with the others refitted after those before it.

    Every removal changes the inverse of the Gram matrix by a matrix of rank one, and the products of
    weights by one of rank two; of both only the row of the unit that goes is ever made.

    Args:
        inverse: [units, units] of the Gram matrix. products: [units, units] of the weights' columns.
    """
    downs, shares, rows = (np.zeros((len(inverse), count), order="F") for _ in range(3))
    diagonal, norms = inverse.diagonal().copy(), products.diagonal().copy()
    gone: list[int] = []
    for number in range(count):
        worth = norms / np.maximum(diagonal, np.finfo(float).tiny)
        worth[gone] = np.inf
        unit = int(np.argmin(worth))
        down, share, row = (values[:, :number] for values in (downs, shares, rows))
        inverted = inverse[unit] - down @ down[unit]
        squares = row[gone, range(number)]
        product = products[unit] - row @ share[unit] - share @ (row[unit] - squares * share[unit])
        shares[:, number] = inverted / inverted[unit]
        downs[:, number] = inverted / np.sqrt(inverted[unit])
        rows[:, number] = product
        norms += shares[:, number] * (shares[:, number] * product[unit] - 2 * product)
        diagonal -= np.square(downs[:, number])
        gone.append(unit)
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

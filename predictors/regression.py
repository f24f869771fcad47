"""Non-negative regression on relative error, robust against the slow side."""

from __future__ import annotations

import numpy as np

from predictors.features import Array

RIDGE = 1e-6  # on columns scaled to a largest relative value of 1; only settles ties
SLOW, FAST = 0.7, 2.0  # standard deviations from which a residual is down-weighted
LEAST_SIGMA = 1e-3  # no measurement is better than this, whatever a small fit's residuals say
ROUNDS = 12


def fit_non_negative(features: Array, ms: Array) -> Array:
    """Coefficients [p] ≥ 0 of least squared relative error from ``features`` [n, p] to ``ms`` [n].

    Iteratively reweighted with Huber weights (Holland & Welsch 1977) of two widths: interference
    only ever slows a run down, so a measurement above the fit is doubted from 0.7 standard
    deviations, one below it from 2.
    """
    from scipy.optimize import nnls

    relative = features / ms[:, None]
    scale = relative.max(0)
    scale[scale == 0] = 1.0
    relative = relative / scale
    ridge = np.sqrt(RIDGE) * np.eye(relative.shape[1])
    target = np.concatenate([np.ones(len(ms)), np.zeros(relative.shape[1])])
    weights = np.ones(len(ms))
    for _ in range(ROUNDS):
        root = np.sqrt(weights)
        rows = np.vstack([relative * root[:, None], ridge])
        target[: len(ms)] = root
        coefficients, _ = nnls(rows, target)
        updated = _weights(1 - relative @ coefficients)
        if np.allclose(updated, weights, atol=1e-3):
            break
        weights = updated
    result: Array = coefficients / scale
    return result


def leave_one_out(features: Array, ms: Array) -> Array:
    """Prediction [n] of every row by a fit to all the others."""
    predicted = np.empty(len(ms))
    for left_out, row in enumerate(features):
        others = np.arange(len(ms)) != left_out
        predicted[left_out] = row @ fit_non_negative(features[others], ms[others])
    return predicted


def _weights(residuals: Array) -> Array:
    """Huber weights of relative residuals; positive ones were measured slower than predicted."""
    sigma = max(1.4826 * float(np.median(np.abs(residuals))), LEAST_SIGMA)
    width = np.where(residuals > 0, SLOW, FAST) * sigma
    weights: Array = np.minimum(1.0, width / np.maximum(np.abs(residuals), 1e-300))
    return weights

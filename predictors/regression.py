"""Non-negative regression on relative error, robust, shrunk to a prior if any."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from predictors.features import Array
from predictors.planning import DETERMINED

RIDGE = 1e-6  # on columns scaled to a largest relative value of 1; only settles ties
# Standard deviations from which a residual is down-weighted: of what took longer than the fit, and less.
Widths = tuple[float, float]
DISTURBED: Widths = (0.7, 2.0)  # interference only ever slows a run down
EVEN: Widths = (1.345, 1.345)  # what others published errs to both sides
LEAST_SIGMA = 1e-3  # no measurement is better than this, whatever a small fit's residuals say
ROUNDS, SETTLED = 12, 1e-3  # reweightings at most, or until no weight moves by more
LEFT_OUT, FITS = 0.2, 40  # share of the rows that each of so many fits is without
SINGLY, GROUPS = 64, 16  # more rows than so many are left out in so many groups
# Standard deviations in shares of the time: of a measurement from the law, and of a cause's own share on
# a like target, relative to that share and at least.
SIGMA, PRIOR_WIDTH, PRIOR_LEAST = 0.02, 0.3, 0.01


def fit_non_negative(
    features: Array, ms: Array, prior: Array | None = None, widths: Widths = DISTURBED
) -> Array:
    """Coefficients [p] ≥ 0 of least squared relative error from ``features`` [n, p] to ``ms`` [n].

    Iteratively reweighted with Huber weights of two widths (Holland & Welsch 1977).

    Args:
        prior: coefficients [p] of a like target. They are scaled to these measurements as a whole, and
            the fit is the most probable one under normal deviations of each cause's share from them.
    """
    from scipy.optimize import nnls

    relative = features / ms[:, None]
    scale = relative.max(0)
    scale[scale == 0] = 1.0
    relative = relative / scale
    ridge, pulled = _ridge(relative, None if prior is None else prior * scale)
    rows = np.concatenate([relative, np.diag(ridge)])
    target = np.concatenate([np.ones(len(ms)), pulled])
    weights = np.ones(len(ms))
    for _ in range(ROUNDS):
        root = np.sqrt(weights)
        rows[: len(ms)] = relative * root[:, None]
        target[: len(ms)] = root
        coefficients, _ = nnls(rows, target)
        updated = _weights(1 - relative @ coefficients, widths)
        if np.abs(updated - weights).max() <= SETTLED:
            break
        weights = updated
    result: Array = coefficients / scale
    return result


def fit_averaged(
    features: Array, ms: Array, prior: Array | None = None, widths: Widths = DISTURBED
) -> Array:
    """The mean coefficients [p] of fits by :func:`fit_non_negative`, each without a fifth of the rows.

    A row more or less decides which of two like causes is given the time; their mean is nearer the truth
    than any one of them (subagging, Bühlmann & Yu 2002). No fit has fewer rows than determine a law, and
    of many rows one fit to all is taken.
    """
    left_out = min(round(LEFT_OUT * len(ms)), len(ms) - DETERMINED)
    if left_out <= 0 or len(ms) > SINGLY:
        return fit_non_negative(features, ms, prior, widths)
    rng = np.random.default_rng(0)
    subsets = (np.sort(rng.permutation(len(ms))[left_out:]) for _ in range(FITS))
    found: Array = np.mean(
        [fit_non_negative(features[s], ms[s], prior, widths) for s in subsets], axis=0
    )
    return found


def _ridge(relative: Array, prior: Array | None) -> tuple[Array, Array]:
    """Per column its row of the ridge, and what that row is to come to: [p] each."""
    least = np.full(relative.shape[1], np.sqrt(RIDGE))
    if prior is None:
        return least, 0.0 * least
    prior = prior / np.median(relative @ prior)
    mean = relative.mean(0)
    ridge = np.maximum(least, SIGMA * mean / (PRIOR_LEAST + PRIOR_WIDTH * prior * mean))
    return ridge, ridge * prior


Fit = Callable[[Array, Array], Callable[[Array], Array]]
"""From features [n, p] and milliseconds [n] to what predicts milliseconds for features."""


def held_out(fit: Fit, features: Array, ms: Array) -> Array:
    """Prediction [n] of every row by a fit to all the others; of many rows by one to all other groups."""
    predicted = np.empty(len(ms))
    group = np.arange(len(ms)) % (len(ms) if len(ms) <= SINGLY else GROUPS)
    for left_out in np.unique(group):
        inside = group == left_out
        predicted[inside] = fit(features[~inside], ms[~inside])(features[inside])
    return predicted


def leave_one_out(features: Array, ms: Array) -> Array:
    """What :func:`held_out` finds of the non-negative regression."""

    def fit(rows: Array, known: Array) -> Callable[[Array], Array]:
        coefficients = fit_non_negative(rows, known)
        return lambda asked: asked @ coefficients

    return held_out(fit, features, ms)


def _weights(residuals: Array, widths: Widths) -> Array:
    """Huber weights of relative residuals; positive ones were measured slower than predicted."""
    sizes = np.abs(residuals)
    ordered = np.sort(sizes)  # of so few, many times as fast as np.median
    median = (ordered[(len(sizes) - 1) // 2] + ordered[len(sizes) // 2]) / 2
    width = np.where(residuals > 0, *widths) * max(1.4826 * float(median), LEAST_SIGMA)
    weights: Array = np.minimum(1.0, width / np.maximum(sizes, 1e-300))
    return weights

"""LatencyPredictor: fitted to a dozen measured encoders, predicts all others with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deploy.architecture import Architecture, Operator, Projection
from deploy.workload import Workload
from devices.errors import UsageError
from predictors.cost_table import CostTable
from predictors.features import COLUMNS, WEIGHTS, Array, Features
from predictors.law import LatencyLaw
from predictors.selection import select_law
from predictors.training import LooRow, TrainingRow, check_pairs, check_rows, shapes
from predictors.trees import Trees
from predictors.utilisation import Utilisation

SCHEMA = 2
FAR = 2.0  # times the largest training leverage, beyond which a prediction is an extrapolation
STRETCH = 1.25  # weights may lie this factor outside what was measured

Architectures = Sequence[Architecture]
Workloads = Sequence[Workload]


@dataclass(frozen=True, eq=False)
class _Fitted:
    features: Features
    law: LatencyLaw
    training: tuple[TrainingRow, ...]


class LatencyPredictor:
    """Milliseconds of any encoder on one target, from measurements of a few.

    Args:
        precision: what the target computes in; decides the bytes of a weight.
        coverage: share of new measurements that the interval is to hold.

    Every method but ``fit`` and ``from_json`` raises UsageError before one of them has been called,
    and where architectures and workloads are not equally many.

    Raises:
        UnknownName: a precision whose weight size is not known.
        UsageError: a coverage outside (0, 1).
    """

    def __init__(self, precision: str = "fp32", coverage: float = 0.9) -> None:
        if not 0 < coverage < 1:
            raise UsageError(f"Coverage must lie between 0 and 1, not {coverage!r}; 0.9 is usual.")
        self.precision = Features(precision).precision
        self.coverage = coverage
        self._fitted: _Fitted | None = None

    def fit(
        self, architectures: Architectures, workloads: Workloads, ms: Sequence[float]
    ) -> LatencyPredictor:
        """Fit to n measured encoders; returns self. Imports scikit-learn.

        Raises:
            UsageError: fewer than 4 rows, sequences of different lengths, or a latency that is
                not a positive number.
        """
        check_rows(architectures, workloads, ms)
        measured = np.asarray(ms, dtype=float)
        found = select_law(architectures, workloads, measured, self.precision, self.coverage)
        rows = zip(architectures, workloads, measured.tolist(), found.loo.tolist(), strict=True)
        training = tuple(TrainingRow(*row) for row in rows)
        self._fitted = _Fitted(found.features, found.law, training)
        return self

    def predict(self, architectures: Architectures, workloads: Workloads) -> Array:
        """Milliseconds [n]. Never decreases when a width or a number of heads grows."""
        return self._law.milliseconds(self._rows(architectures, workloads))

    def predict_interval(
        self, architectures: Architectures, workloads: Workloads
    ) -> tuple[Array, Array]:
        """Lower and upper milliseconds, [n] each, that hold a new measurement with ``coverage``.

        Leave-one-out conformal on |log(measured / predicted)|, wider the farther an encoder is from
        the measured ones (predictors.conformal, predictors.law).
        """
        lower, _, upper = self._law.interval(self._rows(architectures, workloads))
        return lower, upper

    def probability(
        self, architectures: Architectures, workloads: Workloads, budget_ms: float
    ) -> Array:
        """Probability [n] that a new measurement takes at most ``budget_ms``.

        Raises:
            UsageError: ``budget_ms`` is not a positive number.
        """
        if not (math.isfinite(budget_ms) and budget_ms > 0):
            raise UsageError(
                f"A budget must be a positive number of milliseconds, not {budget_ms!r}."
            )
        return self._law.probability(self._rows(architectures, workloads), budget_ms)

    def in_domain(self, architectures: Architectures, workloads: Workloads) -> Array:
        """Booleans [n]: False where a prediction extrapolates from what was measured.

        In domain are a hidden size, batch and length within the measured ranges, weights within
        theirs stretched by 1.25, and a leverage of at most twice the largest measured one.
        """
        law, rows = self._law, self._rows(architectures, workloads)
        near = law.leverage(rows) <= FAR * law.leverage(law.design).max()
        known = law.design[:, WEIGHTS]
        near &= known.min() / STRETCH <= rows[:, WEIGHTS]
        near &= rows[:, WEIGHTS] <= known.max() * STRETCH
        seen = shapes(
            *zip(*((row.architecture, row.workload) for row in self._training), strict=True)
        )
        asked = shapes(architectures, workloads)
        inside: Array = near & ((seen.min(0) <= asked) & (asked <= seen.max(0))).all(1)
        return inside

    def shares(self, architecture: Architecture, workload: Workload) -> list[tuple[str, float]]:
        """Where the time goes: (kind, milliseconds) of embedding and constant, sub-layers, head.

        They sum to the prediction; what spills from the cache is spread in proportion to weights, what
        later stages add or take in proportion to all.
        """
        law, features = self._law, self._features
        chain = features.chain(architecture, workload)
        whole = features.with_spill(chain.sum(0)[None])
        spill = law.coefficients[-1] * whole[0, -1] * chain[:, WEIGHTS] / whole[0, WEIGHTS]
        ms = chain @ law.coefficients[:-1] + spill
        ms *= law.milliseconds(whole) / ms.sum()
        kinds = ["embedding and constant", *(op.kind for op in architecture.operators), "head"]
        return list(zip(kinds, ms.tolist(), strict=True))

    def table(
        self, base: Architecture, choices: Sequence[Sequence[Operator | None]], workload: Workload
    ) -> CostTable:
        """Cost of every choice at every position of ``base``, whose own chain tells the head's width."""
        features, hidden, rows = self._features, base.hidden, []
        for position in choices:
            rows.append(np.stack([features.operator(op, hidden, workload) for op in position]))
            hidden = next((op.to for op in position if isinstance(op, Projection)), hidden)
        ends = np.sum(features.ends(base, workload), axis=0)
        return CostTable(features, self._law, ends, tuple(rows))

    def calibrated(self, factor: float) -> LatencyPredictor:
        """This predictor with all milliseconds multiplied by ``factor``.

        Raises:
            UsageError: ``factor`` is not a positive number.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise UsageError(f"A calibration factor must be a positive number, not {factor!r}.")
        result = LatencyPredictor(self.precision, self.coverage)
        law = replace(self._law, factor=self._law.factor * factor)
        result._fitted = replace(self._checked(), law=law)
        return result

    @property
    def loo(self) -> list[LooRow]:
        """Per training row, measured and predicted by leave-one-out, before any calibration."""
        return [row.loo for row in self._training]

    @property
    def error(self) -> float:
        """Median leave-one-out |predicted − measured| / measured."""
        return float(np.median([abs(row.predicted / row.measured - 1) for row in self.loo]))

    def to_json(self) -> dict[str, Any]:
        """Everything that prediction needs, and the evidence for it."""
        law, features = self._law, self._features
        return {
            "schema": SCHEMA,
            "precision": self.precision,
            "coverage": self.coverage,
            "tile": features.tile,
            "spill_mib": features.spill,
            "coefficients_ms": dict(zip(COLUMNS, law.coefficients.tolist(), strict=True)),
            "units": dict(COLUMNS),
            "utilisation": law.utilisation and law.utilisation.to_json(),
            "trees": law.trees and law.trees.to_json(),
            "spread": law.spread,
            "factor": law.factor,
            "training": [row.to_json() for row in self._training],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LatencyPredictor:
        """Read what :meth:`to_json` wrote; needs numpy only.

        Raises:
            UsageError: ``data`` is no predictor of a known schema.
        """
        try:
            if data["schema"] != SCHEMA:
                raise UsageError(
                    f"Predictor schema {data['schema']!r} is not known, expected {SCHEMA}; "
                    "profile the target again with this version."
                )
            result = cls(data["precision"], data["coverage"])
            training = tuple(map(TrainingRow.from_json, data["training"]))
            features = Features(data["precision"], data["tile"], data["spill_mib"])
            result._fitted = _Fitted(features, _read_law(data, features, training), training)
            return result
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UsageError(
                f"This is not a latency predictor ({type(error).__name__}: {error}); expected the "
                "JSON that `cutonce profile` writes."
            ) from error

    @property
    def _features(self) -> Features:
        return self._checked().features

    @property
    def _law(self) -> LatencyLaw:
        return self._checked().law

    @property
    def _training(self) -> tuple[TrainingRow, ...]:
        return self._checked().training

    def _checked(self) -> _Fitted:
        if self._fitted is None:
            raise UsageError("This latency predictor is not fitted; call fit or from_json first.")
        return self._fitted

    def _rows(self, architectures: Architectures, workloads: Workloads) -> Array:
        check_pairs(architectures, workloads)
        return self._features.matrix(architectures, workloads)


def _read_law(
    data: dict[str, Any], features: Features, training: Sequence[TrainingRow]
) -> LatencyLaw:
    coefficients = np.array([data["coefficients_ms"][name] for name in COLUMNS], dtype=float)
    if not (np.isfinite(coefficients) & (coefficients >= 0)).all():
        raise ValueError(f"coefficients {coefficients.tolist()} are not all non-negative numbers")
    utilisation, trees = data["utilisation"], data["trees"]
    return LatencyLaw(
        coefficients,
        features.matrix([r.architecture for r in training], [r.workload for r in training]),
        float(data["spread"]),
        float(data["coverage"]),
        None if utilisation is None else Utilisation.from_json(utilisation),
        None if trees is None else Trees.from_json(trees),
        float(data["factor"]),
    )

"""LatencyPredictor: fitted to a dozen measured encoders, predicts all others with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
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

SCHEMA = 1
FAR = 2.0  # times the largest training leverage, beyond which a prediction is an extrapolation
STRETCH = 1.25  # weights may lie this factor outside what was measured

Architectures = Sequence[Architecture]
Workloads = Sequence[Workload]


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
        self._fitted: tuple[LatencyLaw, tuple[TrainingRow, ...]] | None = None

    def fit(
        self, architectures: Architectures, workloads: Workloads, ms: Sequence[float]
    ) -> LatencyPredictor:
        """Fit to n measured encoders; returns self. Imports scipy.

        Raises:
            UsageError: fewer than 4 rows, sequences of different lengths, or a latency that is
                not a positive number.
        """
        check_rows(architectures, workloads, ms)
        measured = np.asarray(ms, dtype=float)
        law, loo = select_law(architectures, workloads, measured, self.precision, self.coverage)
        rows = zip(architectures, workloads, measured.tolist(), loo.tolist(), strict=True)
        self._fitted = law, tuple(TrainingRow(*row) for row in rows)
        return self

    def predict(self, architectures: Architectures, workloads: Workloads) -> Array:
        """Milliseconds [n]. Never decreases when a width or a number of heads grows."""
        return self._law.milliseconds(self._rows(architectures, workloads))

    def predict_interval(
        self, architectures: Architectures, workloads: Workloads
    ) -> tuple[Array, Array]:
        """Lower and upper milliseconds, [n] each, that hold a new measurement with ``coverage``.

        Leave-one-out conformal on |log(measured / predicted)|, wider the farther an encoder is from
        the measured ones (predictors.selection, predictors.law).
        """
        lower, _, upper = self._law.interval(self._rows(architectures, workloads))
        return lower, upper

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

        They sum to the prediction; what spills from the cache is spread in proportion to weights.
        """
        law = self._law
        chain = law.features.chain(architecture, workload)
        whole = law.features.with_spill(chain.sum(0)[None])[0]
        spill = law.coefficients[-1] * whole[-1] * chain[:, WEIGHTS] / whole[WEIGHTS]
        ms = law.factor * (chain @ law.coefficients[:-1] + spill)
        kinds = ["embedding and constant", *(op.kind for op in architecture.operators), "head"]
        return list(zip(kinds, ms.tolist(), strict=True))

    def table(
        self, base: Architecture, choices: Sequence[Sequence[Operator | None]], workload: Workload
    ) -> CostTable:
        """Cost of every choice at every position of ``base``, whose own chain tells the head's width."""
        law, hidden, rows = self._law, base.hidden, []
        for position in choices:
            rows.append(np.stack([law.features.operator(op, hidden, workload) for op in position]))
            hidden = next((op.to for op in position if isinstance(op, Projection)), hidden)
        return CostTable(law, np.sum(law.features.ends(base, workload), axis=0), tuple(rows))

    def calibrated(self, factor: float) -> LatencyPredictor:
        """This predictor with all milliseconds multiplied by ``factor``.

        Raises:
            UsageError: ``factor`` is not a positive number.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise UsageError(f"A calibration factor must be a positive number, not {factor!r}.")
        result = LatencyPredictor(self.precision, self.coverage)
        result._fitted = replace(self._law, factor=self._law.factor * factor), self._training
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
        law = self._law
        return {
            "schema": SCHEMA,
            "precision": self.precision,
            "coverage": self.coverage,
            "tile": law.features.tile,
            "spill_mib": law.features.spill,
            "coefficients_ms": dict(zip(COLUMNS, law.coefficients.tolist(), strict=True)),
            "units": dict(COLUMNS),
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
            result._fitted = _read_law(data, training), training
            return result
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UsageError(
                f"This is not a latency predictor ({type(error).__name__}: {error}); expected the "
                "JSON that `cutonce profile` writes."
            ) from error

    @property
    def _law(self) -> LatencyLaw:
        return self._checked()[0]

    @property
    def _training(self) -> tuple[TrainingRow, ...]:
        return self._checked()[1]

    def _checked(self) -> tuple[LatencyLaw, tuple[TrainingRow, ...]]:
        if self._fitted is None:
            raise UsageError("This latency predictor is not fitted; call fit or from_json first.")
        return self._fitted

    def _rows(self, architectures: Architectures, workloads: Workloads) -> Array:
        check_pairs(architectures, workloads)
        return self._law.features.matrix(architectures, workloads)


def _read_law(data: dict[str, Any], training: Sequence[TrainingRow]) -> LatencyLaw:
    coefficients = np.array([data["coefficients_ms"][name] for name in COLUMNS], dtype=float)
    if not (np.isfinite(coefficients) & (coefficients >= 0)).all():
        raise ValueError(f"coefficients {coefficients.tolist()} are not all non-negative numbers")
    features = Features(data["precision"], data["tile"], data["spill_mib"])
    design = features.matrix([r.architecture for r in training], [r.workload for r in training])
    return LatencyLaw(features, coefficients, design, float(data["spread"]), float(data["factor"]))

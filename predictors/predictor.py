"""LatencyPredictor: fitted to a dozen measured encoders, predicts all others with an interval.

Milliseconds, or another quantity that grows with the sub-layers (predictors.quantity): where something is
said of milliseconds here, it holds for the unit of that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deploy.architecture import Architecture, Operator, Projection
from deploy.workload import Workload
from devices.errors import UsageError
from predictors.cost_table import CostTable, shared_weights
from predictors.features import ADDITIVE, WEIGHTS, Array, Features
from predictors.law import LatencyLaw
from predictors.model import Model
from predictors.quantity import LATENCY, QUANTITIES, Quantity
from predictors.selection import select_model
from predictors.training import LooRow, TrainingRow, check_pairs, check_rows, check_tier, shapes
from predictors.transfer import Speed, estimated, nearest

SCHEMA = 6  # of the file of a profile too, which holds predictors
FAR = 2.0  # times the largest training leverage, beyond which a prediction is an extrapolation
STRETCH = 1.25  # weights may lie this factor outside what was measured

Architectures = Sequence[Architecture]
Workloads = Sequence[Workload]


@dataclass(frozen=True, eq=False)
class _Fitted:
    model: Model
    training: tuple[TrainingRow, ...]
    tier: int


class LatencyPredictor:
    """Milliseconds of any encoder on one target, from measurements of a few.

    Args:
        precision: what the target computes in; decides the bytes of a weight.
        coverage: share of new measurements that the interval is to hold.
        quantity: that is predicted.

    Every method but ``fit`` and ``from_json`` raises UsageError before one of them has been called,
    and where architectures and workloads are not equally many.

    Raises:
        UnknownName: a precision whose weight size is not known.
        UsageError: a coverage outside (0, 1).
    """

    def __init__(
        self, precision: str = "fp32", coverage: float = 0.9, quantity: Quantity = LATENCY
    ) -> None:
        if not 0 < coverage < 1:
            raise UsageError(f"Coverage must lie between 0 and 1, not {coverage!r}; 0.9 is usual.")
        self.precision = Features(precision).precision
        self.coverage, self.quantity = coverage, quantity
        self._fitted: _Fitted | None = None

    def fit(
        self,
        architectures: Architectures,
        workloads: Workloads,
        ms: Sequence[float],
        *,
        known: Sequence[LatencyPredictor] = (),
        tier: int | None = None,
    ) -> LatencyPredictor:
        """Fit to n measured encoders; returns self. Imports scikit-learn.

        Args:
            known: predictors of other targets. With fewer than 12 encoders the fit is shrunk to the
                one of them that is most like these measurements.
            tier: that is wanted: 1 is shrunk to a known target, 2 has a law of its own, 3 has enough rows
                for every later stage. None takes the best that so many rows allow.

        Raises:
            UsageError: fewer than 4 rows, sequences of different lengths, a latency that is not a
                positive number, or too few rows or no known target for the tier.
        """
        check_rows(architectures, workloads, ms, self.quantity)
        tier = check_tier(tier, len(ms), bool(known))
        measured = np.asarray(ms, dtype=float)
        like = None
        if tier == 1:
            like = nearest([p.model for p in known], architectures, workloads, measured)
        model, loo = select_model(
            architectures,
            workloads,
            measured,
            Features(self.precision, quantity=self.quantity),
            self.coverage,
            like,
        )
        rows = zip(architectures, workloads, measured.tolist(), loo.tolist(), strict=True)
        self._fitted = _Fitted(model, tuple(TrainingRow(*row) for row in rows), tier)
        return self

    def estimate(self, had: Speed, has: Speed) -> LatencyPredictor:
        """A predictor, of tier 0, for a device of speed ``has`` that nothing was measured on.

        Args:
            had: speed of the device that this predictor was fitted on.
        """
        fitted, result = self._checked(), self._alike()
        result._fitted = replace(fitted, model=estimated(fitted.model, had, has), tier=0)
        return result

    @property
    def model(self) -> Model:
        """What the fit found."""
        return self._checked().model

    @property
    def tier(self) -> int:
        """0 for an estimate, 1 for a law shrunk to that of a like target, 2 and 3 for one of its own,
        3 with enough rows for every later stage."""
        return self._checked().tier

    @property
    def kinds(self) -> set[str]:
        """Of the sub-layers that it was fitted to."""
        rows = self._training
        return {operator.kind for row in rows for operator in row.architecture.operators}

    def predict(self, architectures: Architectures, workloads: Workloads) -> Array:
        """Milliseconds [n]. Never decreases when a width or a number of heads grows, as long as no two
        sub-layers come to share their weights."""
        return self._law.milliseconds(self._rows(architectures, workloads))

    def predict_interval(
        self, architectures: Architectures, workloads: Workloads
    ) -> tuple[Array, Array]:
        """Lower and upper milliseconds, [n] each, that hold a new measurement with ``coverage``.

        Leave-one-out conformal on |log(measured / predicted)|, wider the farther an encoder is from
        the measured ones (predictors.conformal, predictors.law), and as wide again outside the domain.
        """
        rows = self._rows(architectures, workloads)
        lower, ms, upper = self._law.interval(rows)
        beyond = ~self._near(rows, architectures, workloads)
        return np.where(beyond, lower * lower / ms, lower), np.where(
            beyond, upper * upper / ms, upper
        )

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
        return self._near(self._rows(architectures, workloads), architectures, workloads)

    def _near(self, rows: Array, architectures: Architectures, workloads: Workloads) -> Array:
        law = self._law
        near = law.leverage(rows) <= FAR * law.leverage(law.design).max()
        if not self.quantity.stored:  # a byte that is stored costs the same in any model
            known, weights = (found[:, ADDITIVE:].sum(1) for found in (law.design, rows))
            near &= (known.min() / STRETCH <= weights) & (weights <= known.max() * STRETCH)
        seen = shapes(
            *zip(*((row.architecture, row.workload) for row in self._training), strict=True)
        )
        asked = shapes(architectures, workloads)
        inside: Array = near & ((seen.min(0) <= asked) & (asked <= seen.max(0))).all(1)
        return inside

    def shares(self, architecture: Architecture, workload: Workload) -> list[tuple[str, float]]:
        """Where the time goes: (kind, milliseconds) of embedding and constant, sub-layers, head.

        They sum to the prediction; what the regimes of the weights cost is spread in proportion to
        weights, what later stages add or take in proportion to all.
        """
        law, features = self._law, self._features
        chain = features.chain(architecture, workload)
        whole = features.with_regimes(chain.sum(0)[None])
        cached = whole[0, ADDITIVE:] @ law.coefficients[ADDITIVE:]
        weights = chain[:, WEIGHTS]
        ms = chain @ law.coefficients[:ADDITIVE] + cached * weights / weights.sum()
        ms *= law.milliseconds(whole) / ms.sum()
        kinds = ["embedding and constant", *(op.kind for op in architecture.operators), "head"]
        return list(zip(kinds, ms.tolist(), strict=True))

    def table(
        self, base: Architecture, choices: Sequence[Sequence[Operator | None]], workload: Workload
    ) -> CostTable:
        """Cost of every choice at every position of ``base``, whose own chain tells the head's width, and
        which choices use the weights of which others: those that leave a shared sub-layer as it is."""
        features, hidden, rows = self._features, base.hidden, []
        for position in choices:
            rows.append(np.stack([features.operator(op, hidden, workload) for op in position]))
            hidden = next((op.to for op in position if isinstance(op, Projection)), hidden)
        ends = np.sum(features.ends(base, workload), axis=0)
        return CostTable(self.model, ends, tuple(rows), shared_weights(base, choices, rows))

    def calibrated(self, factor: float) -> LatencyPredictor:
        """This predictor with all milliseconds multiplied by ``factor``.

        Raises:
            UsageError: ``factor`` is not a positive number.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise UsageError(f"A calibration factor must be a positive number, not {factor!r}.")
        result = self._alike()
        fitted, law = self._checked(), replace(self._law, factor=self._law.factor * factor)
        result._fitted = replace(fitted, model=replace(fitted.model, law=law))
        return result

    @property
    def loo(self) -> list[LooRow]:
        """Per training row, measured and predicted by leave-one-out, before any calibration."""
        several = len({row.workload for row in self._training}) > 1
        return [row.loo(several) for row in self._training]

    @property
    def error(self) -> float:
        """Median leave-one-out |predicted − measured| / measured."""
        return float(np.median([abs(row.predicted / row.measured - 1) for row in self.loo]))

    def to_json(self) -> dict[str, Any]:
        """Everything that prediction needs, and the evidence for it."""
        fitted = self._checked()
        return {
            "schema": SCHEMA,
            "tier": fitted.tier,
            **fitted.model.to_json(),
            "training": [row.to_json() for row in fitted.training],
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
            result = cls(data["precision"], data["coverage"], QUANTITIES[data["quantity"]])
            training = tuple(map(TrainingRow.from_json, data["training"]))
            result._fitted = _Fitted(Model.from_json(data), training, int(data["tier"]))
            return result
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UsageError(
                f"This is not a latency predictor ({type(error).__name__}: {error}); expected the "
                "JSON that `cutonce profile` writes."
            ) from error

    def _alike(self) -> LatencyPredictor:
        return LatencyPredictor(self.precision, self.coverage, self.quantity)

    @property
    def _features(self) -> Features:
        return self.model.features

    @property
    def _law(self) -> LatencyLaw:
        return self.model.law

    @property
    def _training(self) -> tuple[TrainingRow, ...]:
        return self._checked().training

    def _checked(self) -> _Fitted:
        if self._fitted is None:
            raise UsageError("This latency predictor is not fitted; call fit or from_json first.")
        return self._fitted

    def _rows(self, architectures: Architectures, workloads: Workloads) -> Array:
        check_pairs(architectures, workloads)
        return self.model.rows(architectures, workloads)

"""What a fit finds for one target: a law, and how encoders become its rows. Numpy only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy.architecture import Architecture
from deploy.workload import Workload
from predictors.features import COLUMNS, Array, Features
from predictors.law import LatencyLaw
from predictors.quantity import QUANTITIES
from predictors.trees import Trees
from predictors.utilisation import Utilisation


@dataclass(frozen=True, eq=False)
class Model:
    """Milliseconds of encoders on one target, or another quantity of them.

    Attributes:
        features: how encoders become rows. law: milliseconds from rows.
    """

    features: Features
    law: LatencyLaw

    def rows(self, architectures: Iterable[Architecture], workloads: Sequence[Workload]) -> Array:
        """Features [n, 19] of whole encoders."""
        return self.features.matrix(architectures, workloads)

    def to_json(self) -> dict[str, Any]:
        law, features = self.law, self.features
        return {
            "quantity": features.quantity.name,
            "precision": features.precision,
            "coverage": law.coverage,
            "tile": features.tile,
            "coefficients": dict(zip(COLUMNS, law.coefficients.tolist(), strict=True)),
            "units": dict(COLUMNS),
            "design": law.design.tolist(),
            "utilisation": law.utilisation and law.utilisation.to_json(),
            "trees": law.trees and law.trees.to_json(),
            "spread": law.spread,
            "factor": law.factor,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Model:
        """Raises KeyError, TypeError or ValueError where :meth:`to_json` did not write ``data``."""
        coefficients = np.array([data["coefficients"][name] for name in COLUMNS], dtype=float)
        if not (np.isfinite(coefficients) & (coefficients >= 0)).all():
            raise ValueError(
                f"coefficients {coefficients.tolist()} are not all non-negative numbers"
            )
        utilisation, trees = data["utilisation"], data["trees"]
        law = LatencyLaw(
            coefficients,
            np.array(data["design"], dtype=float).reshape(-1, len(COLUMNS)),
            float(data["spread"]),
            float(data["coverage"]),
            None if utilisation is None else Utilisation.from_json(utilisation),
            None if trees is None else Trees.from_json(trees),
            float(data["factor"]),
        )
        quantity = QUANTITIES[data["quantity"]]
        return cls(Features(data["precision"], int(data["tile"]), quantity), law)

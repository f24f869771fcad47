"""What a profiled target has the paths of recipe nas-bert priced by."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cutonce.profiles import stored_profile
from deploy.architecture import Architecture, SeparableConvolution
from deploy.workload import Workload
from devices.errors import UsageError
from devices.target import Target
from elastic.recipes.paths import Price, timed
from predictors.predictor import LatencyPredictor
from profiler.store import open_store


@dataclass(frozen=True, eq=False)
class Pricing:
    """The latency of one workload on one target, as its profile predicts it."""

    target: Target
    workload: Workload
    predictor: LatencyPredictor

    @classmethod
    def find(cls, target: str, workload: Workload, store: str | Path | None = None) -> Pricing:
        """By the profile in the store, by default the user's own.

        Raises UsageError where there is none of ``target`` on this machine as it is now, or only one
        without convolutions, which would be priced by their few products.
        """
        parsed = Target.parse(target)
        with open_store(store) as opened:
            kept = stored_profile(opened, parsed)
        if kept is None:
            raise UsageError(
                f"No profile of {parsed} on this machine; `cutonce profile {parsed}` makes one."
            )
        if SeparableConvolution.kind not in kept.predictor.kinds:
            raise UsageError(
                f"The profile of {parsed} has no separable convolutions, which paths are made of; "
                f"`cutonce profile {parsed}` without --around measures some."
            )
        return cls(parsed, workload, kept.predictor)

    def to_json(self) -> dict[str, Any]:
        """What tells two of them apart."""
        predictor = json.dumps(self.predictor.to_json(), sort_keys=True)
        return {
            "target": str(self.target),
            "workload": self.workload.to_json(),
            "predictor": hashlib.sha256(predictor.encode()).hexdigest(),
        }

    def price(self, teacher: Architecture) -> Price:
        """Raises UsageError where the workload is longer than what ``teacher`` takes."""
        self.workload.require_fits(teacher)
        return timed(self.predictor, teacher, self.workload)

    def predicted(self, architecture: Architecture) -> dict[str, Any]:
        """Milliseconds of a whole network, as JSON, with their interval and whether it is in domain."""
        asked = [architecture], [self.workload]
        lower, upper = self.predictor.predict_interval(*asked)
        return {
            "target": str(self.target),
            "workload": self.workload.to_json(),
            "ms": float(self.predictor.predict(*asked)[0]),
            "interval": [float(lower[0]), float(upper[0])],
            "in_domain": bool(self.predictor.in_domain(*asked)[0]),
        }

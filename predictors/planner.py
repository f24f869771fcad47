"""Planner: asks which encoder to measure next, is told what it took, says when that is enough.

First those that determine every coefficient (predictors.planning), then those whose interval is widest
where it matters: near a budget, if any is given. Near means that the interval may reach it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deploy.architecture import Architecture
from deploy.workload import Workload
from devices.errors import UsageError
from predictors.features import Array
from predictors.planning import DETERMINED, plan, relative_rows, typical
from predictors.predictor import LatencyPredictor

ERROR = 0.02  # median of leave-one-out, below which the law is known
WIDTH = 0.05  # half-width of the interval, relative, below which it tells enough


class Planner:
    """Chooses among ``candidates``, each of which is asked for once at most.

    Args:
        workloads: one for all candidates, or one for each.
        first: encoders that are to determine the law.
        budgets: milliseconds that the device is to keep to.
        seed: settles ties of the first choices.

    Raises:
        UsageError: fewer than two different candidates, or a budget that is not a positive number.
    """

    def __init__(
        self,
        candidates: Sequence[Architecture],
        workloads: Workload | Sequence[Workload],
        precision: str,
        *,
        first: int = DETERMINED,
        budgets: Sequence[float] = (),
        seed: int = 0,
    ) -> None:
        for budget in budgets:
            if not (math.isfinite(budget) and budget > 0):
                raise UsageError(
                    f"A budget must be a positive number of milliseconds, not {budget!r}."
                )
        if isinstance(workloads, Workload):
            workloads = [workloads] * len(candidates)
        self._candidates, self._workloads = list(candidates), list(workloads)
        self._precision, self._budgets = precision, tuple(budgets)
        different = len(set(zip(candidates, workloads, strict=True)))
        self._first = plan(candidates, workloads, min(first, different), precision, seed)
        pairs = list(zip(candidates, workloads, strict=True))
        self._typical = np.flatnonzero(typical(relative_rows(pairs, precision))).tolist()
        self._asked: list[int] = []
        self._told: dict[int, float] = {}

    def ask(self, n: int = 1) -> list[int]:
        """Indices of the next ``n`` candidates to measure; fewer where no more are left, or where those
        after the first ones are asked for before anything was told."""
        taken = {*self._asked, *self._told}
        found = [i for i in self._first if i not in taken][:n]
        if len(found) < n and self._told:
            found += self._wanted(n - len(found), {*taken, *found})
        self._asked += found
        return found

    def tell(self, index: int, ms: float) -> None:
        """That candidate ``index`` took ``ms`` milliseconds.

        Raises:
            UsageError: there is no such candidate, or ``ms`` is not a positive number.
        """
        if not 0 <= index < len(self._candidates):
            raise UsageError(f"There is no candidate {index}; there are {len(self._candidates)}.")
        if not (math.isfinite(ms) and ms > 0):
            raise UsageError(f"A latency must be a positive number of milliseconds, not {ms!r}.")
        self._told[index] = ms

    def enough(self) -> str | None:
        """Why no more is needed, in a sentence; None where more would help."""
        if len(self._told) < len(self._first):
            return None
        predictor = self.predictor()
        ms, width = self._judged(predictor, self._typical)
        near = self._nearness(ms, width)
        typical = float(np.average(width, weights=near) if near.sum() > 0 else width.mean())
        if predictor.error >= ERROR or math.expm1(typical) >= WIDTH:
            return None
        where = "near the budgets" if self._budgets else "over typical candidates"
        return (
            f"Leave-one-out error {predictor.error:.1%} and interval ±{math.expm1(typical):.1%} {where} "
            f"after {len(self._told)} encoders."
        )

    def predictor(self) -> LatencyPredictor:
        """Fitted to what was told. Raises UsageError where that is too little."""
        known = list(self._told)
        architectures, workloads = self._pairs(known)
        return LatencyPredictor(self._precision).fit(
            architectures, workloads, [self._told[i] for i in known]
        )

    def _wanted(self, n: int, taken: set[int]) -> list[int]:
        pairs = list(zip(self._candidates, self._workloads, strict=True))
        seen = {pairs[i] for i in taken}
        left = [i for i in self._typical if pairs[i] not in seen]
        left = left or [i for i, pair in enumerate(pairs) if pair not in seen]
        left = list({pairs[i]: i for i in reversed(left)}.values())
        if not left or n < 1:
            return []
        ms, width = self._judged(self.predictor(), left)
        worth = width * self._nearness(ms, width)
        return [left[i] for i in np.argsort(-worth, kind="stable")[:n]]

    def _judged(self, predictor: LatencyPredictor, indices: Sequence[int]) -> tuple[Array, Array]:
        """Milliseconds, and half-width of their interval in the logarithm."""
        architectures, workloads = self._pairs(indices)
        ms = predictor.predict(architectures, workloads)
        _, upper = predictor.predict_interval(architectures, workloads)
        return ms, np.log(upper / ms)

    def _nearness(self, ms: Array, width: Array) -> Array:
        """1 at a budget, falling with the distance in half-widths; 1 everywhere without budgets."""
        if not self._budgets:
            return np.ones_like(ms)
        away = np.abs(np.log(ms[:, None] / np.array(self._budgets))).min(1)
        near: Array = np.exp(-0.5 * np.square(away / np.maximum(width, 1e-9)))
        return near

    def _pairs(self, indices: Sequence[int]) -> tuple[list[Architecture], list[Workload]]:
        return [self._candidates[i] for i in indices], [self._workloads[i] for i in indices]

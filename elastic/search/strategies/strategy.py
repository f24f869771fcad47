"""What every strategy has: budgets, the losses it was told, and a state that can be kept."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from elastic.search.feasible import Feasible
from elastic.search.knapsack import Array, Errors
from elastic.space import Choice

LEAST = 1e-12  # nats, so that logarithms and ratios are of something


class Strategy(ABC):
    """Asks for choices to evaluate, is told their losses.

    Args:
        errors: per position, what each choice costs by itself; choice 0 is dense and costs nothing.
        budgets: whose best choices are looked for; asked for by their number.
        seed: of all that is drawn.
    """

    def __init__(self, errors: Errors, budgets: Sequence[Feasible] = (), *, seed: int) -> None:
        self._errors: list[Array] = [np.maximum(np.asarray(row, float), LEAST) for row in errors]
        self._rng = np.random.default_rng(seed)
        self._losses: dict[Choice, float] = {}
        self._budgets: list[Feasible] = []
        for budget in budgets:
            self.add(budget)

    def add(self, budget: Feasible) -> int:
        """The number that a further budget is asked for by."""
        self._budgets.append(budget)
        return len(self._budgets) - 1

    @abstractmethod
    def ask(self, budget: int = 0) -> Choice | None:
        """A choice to evaluate for that budget; None where none is left to be found."""

    def tell(self, choice: Choice, loss: float) -> None:
        """That ``choice`` has this loss; NaN where its evaluation failed: it is not asked for again."""
        self._losses[choice] = float(loss)

    @property
    def losses(self) -> dict[Choice, float]:
        """Of every choice that was told, in order; NaN where the evaluation failed."""
        return dict(self._losses)

    def best(self, budget: int = 0, count: int = 1) -> list[Choice]:
        """Up to ``count`` choices of those told that keep the budget, of least loss first."""
        known = self._known()
        if not known:
            return []
        fits = self._budgets[budget].fits(np.array(known))
        inside = [choice for choice, fit in zip(known, fits, strict=True) if fit]
        return sorted(inside, key=self._losses.__getitem__)[:count]

    def state(self) -> dict[str, Any]:
        """All that a strategy made with the same arguments needs to go on, as JSON."""
        return {
            "losses": [[list(choice), loss] for choice, loss in self._losses.items()],
            "random": self._rng.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken."""
        self._losses = {tuple(choice): float(loss) for choice, loss in state["losses"]}
        self._rng.bit_generator.state = state["random"]

    def _known(self) -> list[Choice]:
        return [choice for choice, loss in self._losses.items() if math.isfinite(loss)]

"""Decoding under errors that do not quite add up.

The dynamic programme needs a sum over modules, and the divergences of single cuts are none. Cuts that are
small each can be large together: where layers do alike, as ALBERT's do, the errors of many thin cuts
point the same way and grow from layer to layer, while the last layers could go together at little more
than the cost of one. Two kinds of decodings are therefore proposed:

- under sums of a root of the errors, Σ eᵖ with p < 1, which charge many small cuts more beside a few
  large ones; p = ½ is exact where all point the same way, p = 1 where none do;
- without the last sub-layers (Sajjad et al. 2020, arXiv 2004.03844), however many, the budget that is
  left spent on the others under the plain sum.

Which of them holds is measured: a few texts choose those of least joint divergence, all texts judge
these. From there the natural gradient goes on (elastic.search.strategies.natural_gradient): it learns
from every joint divergence, of whatever budget and device, what cuts cost together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache

import numpy as np

from elastic.search.feasible import Feasible, Limit
from elastic.search.knapsack import Errors, cheapest
from elastic.search.losses import Joint
from elastic.search.strategies.natural_gradient import POWERS, NaturalGradient
from elastic.space import Choice
from predictors.cost_table import CostTable

FEW = 4  # proposals that are judged on all texts
GLANCE = 4  # every so many texts are looked at first
EVALUATIONS = 24  # of the natural gradient, per decoding

Advance = Callable[[int, int], None]


@contextmanager
def silent(_: str) -> Iterator[Advance]:
    """No progress."""
    yield lambda *_: None


class Judge:
    """What a choice costs in quality.

    Args:
        errors: per position, of each choice by itself (elastic.search.sensitivity).
        joint: of a whole choice, measured on every so many texts.
        evaluations: of the natural gradient, per decoding.
        progress: called with a label, gives what is called with (done, total).
    """

    def __init__(
        self,
        errors: Errors,
        joint: Joint,
        *,
        evaluations: int = EVALUATIONS,
        seed: int = 0,
        progress: Callable[[str], AbstractContextManager[Advance]] = silent,
    ) -> None:
        self._errors, self._evaluations, self._progress = errors, evaluations, progress
        self._joint = cache(joint)
        self._strategy = NaturalGradient(errors, seed=seed)

    def error(self, choice: Choice) -> float:
        """The joint error of ``choice`` on all texts."""
        return self._joint(choice, 1)

    def decode(self, table: CostTable, budget_ms: float) -> Choice | None:
        """The choice of least joint error of those that were looked at and whose latency fits; None where
        not even the cheapest choice does."""
        found = list(dict.fromkeys(proposals(self._errors, table, budget_ms)))
        if len(found) > FEW:
            found = sorted(found, key=lambda choice: self._joint(choice, GLANCE))[:FEW]
        for choice in found:
            self._strategy.tell(choice, self.error(choice))
        number = self._strategy.add(Feasible(Limit(table, budget_ms)))
        with self._progress("searching") as advance:
            for done in range(self._evaluations if found else 0):
                asked = self._strategy.ask(number)
                if asked is None:
                    break
                self._strategy.tell(asked, self.error(asked))
                advance(done + 1, self._evaluations)
        return next(iter(self._strategy.best(number)), None)


def proposals(errors: Errors, table: CostTable, budget_ms: float) -> Iterator[Choice]:
    """Choices that fit: of every power at full depth, and of every smaller depth down to the one at which
    nothing else has to be cut."""
    feasible = Feasible(Limit(table, budget_ms))
    for power in POWERS:
        choice = feasible.decode([row**power for row in errors])
        if choice is not None:
            yield choice
    for depth in range(len(errors) - 1, 0, -1):
        choice = feasible.decode(truncated(errors, table, depth))
        if choice is not None:
            yield choice
            if not any(choice[:depth]):  # choice 0 is dense
                return


def truncated(errors: Errors, table: CostTable, depth: int) -> Errors:
    """``errors`` where nothing but the cheapest choice is left from position ``depth`` on."""
    found = [*errors[:depth]]
    for row, least in zip(errors[depth:], cheapest(table)[depth:], strict=True):
        alone = np.full_like(row, np.inf)
        alone[least] = row[least]
        found.append(alone)
    return found

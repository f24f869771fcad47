"""Decoding under errors that do not quite add up.

The dynamic programme needs a sum over modules, and the divergences of single cuts are none. Cuts that are
small each can be large together: where layers do alike, as ALBERT's do, the errors of many thin cuts
point the same way and grow from layer to layer, while the last layers could go together at little more
than the cost of one. Two kinds of decodings are therefore proposed:

- under sums of a root of the errors, Σ eᵖ with p < 1, which charge many small cuts more beside a few
  large ones; p = ½ is exact where all point the same way, p = 1 where none do;
- without the last sub-layers (Sajjad et al. 2020, arXiv 2004.03844), however many, the budget that is
  left spent on the others under the plain sum.

Which of them holds is measured: a few texts choose those of least joint divergence, more texts judge
these. From there the natural gradient goes on (elastic.search.strategies.natural_gradient): it learns
from every joint divergence, of whatever budget and device, what cuts cost together. Budgets that are
decoded together therefore share what is evaluated: whatever promises most for any of them, and in the end
a few choices for each, those that are expected to be best for it.

On few texts the best is in part the luckiest. All are compared on the same texts, and the best of a
budget on more and more of these, the better half going on (successive halving, Jamieson & Talwalkar 2016,
arXiv 1502.07943), until all texts decide between the last two.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from math import inf, isnan

import numpy as np

from devices.errors import ModelError
from elastic.search.feasible import Feasible
from elastic.search.knapsack import Errors
from elastic.search.losses import Joint
from elastic.search.strategies.natural_gradient import Certificate, NaturalGradient
from elastic.search.strategies.prior import POWERS
from elastic.space import Choice

GLANCE, SEARCH, HALVINGS = 16, 4, (2, 1)  # every so many texts: of proposals, the search, the best
FEW = 4  # proposals that are judged on the texts of the search, and finalists of every budget
PROPOSED = 2  # budgets of those decoded together for which there are proposals
EVALUATIONS = 24  # of the natural gradient, for all budgets that are decoded together
TURNS = 3  # of these at least, for each of them by itself
SHARED = 240  # at most, however many budgets: some then go by what was told for others
AGAIN = 6  # instead of EVALUATIONS, where they were decoded before

Advance = Callable[[int, int], None]


@contextmanager
def silent(_: str) -> Iterator[Advance]:
    """No progress."""
    yield lambda *_: None


class Judge:
    """What a choice costs in quality.

    Args:
        errors: per position, of each choice by itself (elastic.search.sensitivity).
        joint: of a whole choice, measured on every so many texts; NaN where that failed.
        evaluations: of the natural gradient, for all budgets that are decoded together; more where each
            of them could not be given a few of its own.
        known: choices that are looked at whatever the budget, as those that a recipe trained.
        unlikely: per position, of each choice the negative logarithm of how likely it is to be of the
            best network, as a recipe learnt it; the likeliest network of every budget is looked at.
            Empty where that is not known.
        progress: called with a label, gives what is called with (done, total).

    Attributes:
        seconds: that all calls took so far. evaluating_seconds: those of them that joint errors took.
    """

    def __init__(
        self,
        errors: Errors,
        joint: Joint,
        *,
        evaluations: int = EVALUATIONS,
        known: Sequence[Choice] = (),
        unlikely: Errors = (),
        seed: int = 0,
        progress: Callable[[str], AbstractContextManager[Advance]] = silent,
    ) -> None:
        self._known, self._unlikely = known, unlikely
        self._errors, self._evaluations, self._progress = errors, evaluations, progress
        self._joint = cache(self._timed(joint))
        self._strategy = NaturalGradient(errors, seed=seed)
        self.seconds, self.evaluating_seconds = 0.0, 0.0

    @contextmanager
    def _clocked(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - began

    def _timed(self, joint: Joint) -> Joint:
        def evaluated(choice: Choice, every: int) -> float:
            began = time.monotonic()
            try:
                return joint(choice, every)
            finally:
                self.evaluating_seconds += time.monotonic() - began

        return evaluated

    @property
    def evaluated(self) -> dict[Choice, float]:
        """Joint errors on the texts of the search, of every choice that was looked at; NaN of those that
        failed, which are left out."""
        return self._strategy.losses

    def error(self, choice: Choice) -> float:
        """The joint error of ``choice`` on all texts."""
        with self._clocked():
            return self._joint(choice, 1)

    def decode(self, budgets: Sequence[Feasible], *, again: bool = False) -> list[Choice | None]:
        """For each of ``budgets`` the best choice of those that were looked at and keep it; None where
        not even the cheapest choice does. ``again``: they were decoded before and moved a little since,
        so that less is evaluated.

        Raises ModelError where every evaluation failed.
        """
        with self._clocked():
            if not again:
                self._recall(budgets)
                self._propose(budgets)
            numbers = [self._strategy.add(budget) for budget in budgets]
            self._search(numbers, min(AGAIN, self._evaluations) if again else self._evaluations)
            self._check_any()
            finalists = (self._strategy.best(number, FEW) for number in numbers)
            return [halved(some, self._joint) for some in finalists]

    def certificate(self, budget: Feasible) -> Certificate | None:
        """What could still be gained under ``budget``; None where nothing keeps it."""
        with self._clocked():
            return self._strategy.certificate(self._strategy.add(budget))

    def _recall(self, budgets: Sequence[Feasible]) -> None:
        """Judge what training is known to have been for."""
        likeliest = [budget.decode(self._unlikely) for budget in budgets if self._unlikely]
        for choice in dict.fromkeys((*self._known, *likeliest)):
            if choice is not None:
                self._strategy.tell(choice, self._joint(choice, SEARCH))

    def _propose(self, budgets: Sequence[Feasible]) -> None:
        """Judge what is proposed for budgets from the tightest to the loosest."""
        for budget in _spread(budgets, self._errors):
            found = list(dict.fromkeys(proposals(self._errors, budget)))
            if len(found) > FEW:
                found = ordered(found, self._joint, GLANCE)[:FEW]
            for choice in found:
                self._strategy.tell(choice, self._joint(choice, SEARCH))

    def _check_any(self) -> None:
        losses = self.evaluated.values()
        if losses and all(map(isnan, losses)):
            raise ModelError(
                f"None of {len(losses)} sub-networks gave a divergence that is a number; check the "
                "model's weights and outputs."
            )

    def _search(self, numbers: Sequence[int], evaluations: int) -> None:
        """Evaluate what promises most for any budget, then what is expected to be best for each."""
        count = max(evaluations, min(TURNS * len(numbers), SHARED)) if evaluations else 0
        with self._progress("searching") as advance:
            for done, choice in enumerate(self._strategy.ask_each(numbers, count, TURNS)):
                self._strategy.tell(choice, self._joint(choice, SEARCH))
                advance(done + 1, count)


def halved(choices: Sequence[Choice], joint: Joint) -> Choice | None:
    """The best of them: on more and more texts the better half goes on."""
    for every in HALVINGS:
        choices = ordered(choices, joint, every)[: max(1, len(choices) // 2)]
    return next(iter(choices), None)


def ordered(choices: Sequence[Choice], joint: Joint, every: int) -> list[Choice]:
    """By their errors on every so many texts; what failed comes last."""
    return sorted(choices, key=lambda choice: float(np.nan_to_num(joint(choice, every), nan=inf)))


def proposals(errors: Errors, budget: Feasible) -> Iterator[Choice]:
    """Choices that fit: of every power at full depth, and of every smaller depth down to the one at which
    nothing else has to be cut."""
    for power in POWERS:
        choice = budget.decode([row**power for row in errors])
        if choice is not None:
            yield choice
    for depth in range(len(errors) - 1, 0, -1):
        choice = budget.decode(truncated(errors, budget.cheapest, depth))
        if choice is not None:
            yield choice
            if not any(choice[:depth]):  # choice 0 is dense
                return


def truncated(errors: Errors, cheapest: Choice, depth: int) -> Errors:
    """``errors`` where nothing but the cheapest choice is left from position ``depth`` on."""
    found = [*errors[:depth]]
    for row, least in zip(errors[depth:], cheapest[depth:], strict=True):
        alone = np.full_like(row, np.inf)
        alone[least] = row[least]
        found.append(alone)
    return found


def _spread(budgets: Sequence[Feasible], errors: Errors) -> list[Feasible]:
    """At most :data:`PROPOSED` budgets, the tightest and the loosest first of all."""
    reached = []
    for budget in budgets:
        choice = budget.decode(errors)
        if choice is not None:
            total = sum(float(row[level]) for row, level in zip(errors, choice, strict=True))
            reached.append((total, budget))
    reached.sort(key=lambda pair: pair[0])
    places = np.linspace(0, len(reached) - 1, min(PROPOSED, len(reached))).round().astype(int)
    return [reached[place][1] for place in places]

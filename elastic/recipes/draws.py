"""Sub-networks for a supernet in training, drawn as the search draws.

They come from the posterior of the search's own natural gradient under budgets from large to small, so
that weights are not spent on what no budget will ever get (AttentiveNAS, arXiv 2011.09011). Budgets are
shares of the multiply-accumulates: the one training serves all devices, whose own costs the search knows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from deploy.encoder import Encoder
from devices.runtimes import Arrays
from elastic.elastic_encoder import ElasticEncoder
from elastic.recipes.supernet import SupernetTraining
from elastic.search.counted import CountedTable
from elastic.search.divergence import Divergence
from elastic.search.each_text import EachText
from elastic.search.feasible import Feasible, Limit
from elastic.search.judge import SEARCH
from elastic.search.sensitivity import module_errors
from elastic.search.strategies.natural_gradient import NaturalGradient
from elastic.search.texts import Texts
from elastic.space import Choice, SearchSpace
from elastic.tensors import evaluating
from elastic.trunk import DENSE, Trunk

SHARES = (0.7, 0.5, 0.35, 0.25, 0.17, 0.12)  # of the dense encoder's cost: budgets of the draws
EVALUATED, KEPT = 24, 12  # networks, for the posteriors; draws from one, of every budget
FORWARD = 1 / 3  # of a pass forward and back

Drawn = tuple[int, Choice]
"""Number of the trunk, and a choice of the space."""


class Draws:
    """Networks drawn from the search's posteriors, one on each trunk, as the supernet stands.

    Args:
        trunks: the dense one first.
        batches: of texts that networks are compared on.
        length: tokens, of the costs.
    """

    def __init__(
        self,
        space: SearchSpace,
        trunks: Sequence[Trunk],
        batches: Sequence[Arrays],
        length: int,
        seed: int,
    ) -> None:
        self.space, self.trunks = space, trunks
        self._batches, self._seed = batches, seed
        self._spaces = [trunk.space(space) for trunk in trunks]
        tables = [CountedTable(some, length) for some in self._spaces]
        self._sizes = [table.whole / tables[0].whole for table in tables]
        self._budgets = [
            [Feasible(Limit(table, share / size)) for share in SHARES]
            for table, size in zip(tables, self._sizes, strict=True)
        ]

    def __call__(
        self, training: SupernetTraining, teacher: Encoder, number: int
    ) -> list[list[Drawn]]:
        """Of every budget; ``number`` tells the posteriors of one training apart."""
        drawn: list[list[Drawn]] = [[] for _ in SHARES]
        with evaluating(training), torch.no_grad():
            texts = Texts(teacher, self._batches, seed=self._seed)
            for place in range(len(self.trunks)):
                strategy = self._posterior(training, texts, place, number)
                for budget, found in enumerate(drawn):
                    found += [(place, choice) for choice in _of(strategy, budget)]
        return drawn

    def _posterior(
        self, training: SupernetTraining, texts: Texts, place: int, number: int
    ) -> NaturalGradient:
        elastic, space, trunk = training.elastic, self._spaces[place], self.trunks[place]
        if trunk != DENSE:
            whole = elastic.extract(elastic.architecture.operators, trunk)
            elastic = ElasticEncoder(whole)
        errors = module_errors(elastic, space, texts, every=SEARCH)
        strategy = NaturalGradient(errors, self._budgets[place], seed=self._seed + number)
        apart, count = (
            Divergence(EachText(elastic, texts)),
            max(len(SHARES), EVALUATED // len(self.trunks)),
        )
        for choice in strategy.ask_each(range(len(SHARES)), count, 1):
            strategy.tell(choice, apart(space.chain(choice), SEARCH))
        looked_at = count + sum(map(len, space.choices)) / 2
        training.passes += FORWARD * texts.count(SEARCH) * looked_at * self._sizes[place]
        return strategy


def _of(strategy: NaturalGradient, budget: int) -> list[Choice]:
    """The best that is known, and draws."""
    drawn = (strategy.ask(budget) for _ in range(KEPT))
    return [*strategy.best(budget), *(choice for choice in drawn if choice is not None)]

"""DynaBERT's grid (Hou et al. 2020, arXiv 2004.04037, §2): one width for all layers, some layers gone.

The paper has width multipliers of 1, ¾, ½, ¼ and depth multipliers of 1, ¾, ½, twelve networks; here
the widths are those that the search space has, as shares of each position's levels, and every number
of layers may go. Of L layers the k that go are spread evenly, as the paper drops every fourth or every
second one: layer d goes where ⌊k (d+1) / L⌋ > ⌊k d / L⌋.
"""

from __future__ import annotations

from itertools import product

from elastic.search.strategies.strategy import Strategy
from elastic.space import Choice


class Grid(Strategy):
    """The networks of the grid that keep a budget, the deepest and widest first."""

    def ask(self, budget: int = 0) -> Choice | None:
        return next(
            (c for c in self._grid() if c not in self._losses and self._budgets[budget].fit(c)),
            None,
        )

    def _grid(self) -> list[Choice]:
        """Positions come in pairs, attention and feed-forward; a choice's last level is its smallest."""
        lasts = [len(row) - 1 for row in self._errors]
        layers, most = (len(lasts) + 1) // 2, max(1, max(lasts, default=1) - 1)
        return list(
            dict.fromkeys(
                tuple(
                    last if goes(p // 2, gone, layers) else round(cut / most * max(0, last - 1))
                    for p, last in enumerate(lasts)
                )
                for gone, cut in product(range(layers), range(most + 1))
            )
        )


def goes(layer: int, gone: int, layers: int) -> bool:
    """Whether ``layer`` is one of the ``gone`` of ``layers`` that go."""
    return gone * (layer + 1) // layers > gone * layer // layers

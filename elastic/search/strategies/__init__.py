"""Strategies: which sub-network to evaluate next. One file per paper.

In scope: asking for choices that keep a budget and being told their losses. Out of scope: how a loss is
evaluated or a latency predicted. Every strategy is made as ``strategy(errors, budgets, *, seed)``, see
elastic.search.strategies.strategy.
"""

from __future__ import annotations

from devices.registry import Registry

STRATEGIES = Registry(
    "strategy",
    {
        "natural-gradient": "elastic.search.strategies.natural_gradient:NaturalGradient",
        "sng": "elastic.search.strategies.sng:Sng",
        "asng": "elastic.search.strategies.sng:Asng",
        "look-up": "elastic.search.strategies.look_up:LookUp",
        "grid": "elastic.search.strategies.grid:Grid",
    },
)

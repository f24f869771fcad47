"""Recipes: how weights are trained. One file per recipe, one paper each.

In scope: training the dense model on a task, distilling it into a sub-network, checkpoints that an
interrupted training goes on from. Out of scope: which sub-network, and data (see deploy.task).
"""

from __future__ import annotations

from devices.registry import Registry

RECIPES = Registry(
    "recipe",
    {"dense": "elastic.recipes.dense:dense", "distil": "elastic.recipes.distil:distil"},
)

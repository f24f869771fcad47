"""Recipes: how weights are trained. One file per recipe, one paper each.

In scope: training the dense model on a task, distilling it into a sub-network, training it with all its
sub-networks, checkpoints that an interrupted training goes on from. Out of scope: which sub-network a
budget gets, and data (see deploy.task).
"""

from __future__ import annotations

from devices.registry import Registry

ELASTIC = Registry(
    "recipe",
    {
        "cutonce": "elastic.recipes.cutonce:cutonce",
        "dynabert": "elastic.recipes.dynabert:dynabert",
        "yoco": "elastic.recipes.yoco:yoco",
        "rosita": "elastic.recipes.rosita:rosita",
        "nas-bert": "elastic.recipes.nas_bert:nas_bert",
    },
)
"""Called as ``recipe(encoder, task, *, seed, out, progress, **settings)``, each gives an
:class:`elastic.checkpoint.ElasticCheckpoint`."""

RECIPES = Registry(
    "recipe",
    {"dense": "elastic.recipes.dense:dense", "distil": "elastic.recipes.distil:distil"},
)

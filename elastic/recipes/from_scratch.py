"""A BERT with new weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from deploy.architecture import Architecture
from elastic.families.bert import FAMILY, config_of
from elastic.quiet import quiet

# Of the sinusoids, beside 0.02 of the rows of words: with 0.3 words are not made out among them.
AMPLITUDE = 0.05


def from_scratch(architecture: Architecture, output: str, settings: dict[str, Any]) -> Any:
    """The transformers model of a dense BERT shape.

    A masked language model's table of positions begins as sinusoids (Vaswani et al. 2017, arXiv
    1706.03762, §3.5). From these, attention learns within hundreds of steps to look at a word's
    neighbours; with random rows it goes on for thousands by how frequent words are. Texts are classified
    by single words to begin with, which strong positions only hide.

    Args:
        output: of its head. settings: of the configuration, beside the shape.

    Raises:
        UsageError: the architecture is not BERT-shaped.
    """
    import transformers

    with quiet():
        network = getattr(transformers, FAMILY.class_for(output))(config_of(architecture, settings))
    if output == "masked-language-model":
        table = network.base_model.embeddings.position_embeddings.weight
        with torch.no_grad():
            table.copy_(AMPLITUDE * sinusoids(*table.shape))
    return network


def sinusoids(positions: int, width: int) -> Tensor:
    """Sines and cosines of falling frequencies, in turn: [positions, width]."""
    frequencies = torch.exp(-math.log(1e4) * torch.arange(0, width, 2) / width)
    angles = torch.arange(positions)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :width]

"""Progressive stacking: a deep encoder begins as a trained one of half its layers, twice over.

Source: Gong et al. 2019, Efficient Training of BERT by Progressively Stacking (ICML): the layers of a
trained BERT attend much alike, so that its copy is a good beginning for those above; and a shallow
encoder learns in a fraction of the time what all have in common, above all its table of tokens.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from deploy.tokens import load_tokenizer
from elastic.quiet import quiet

SHARES = {1: (1.0,), 2: (0.5, 0.5), 3: (0.4, 0.3, 0.3)}  # of the training, by number of depths


def depths(layers: int) -> list[int]:
    """That are trained one after the other, each twice the last; three at most."""
    found = [layers]
    while len(found) < len(SHARES) and found[0] % 2 == 0:
        found.insert(0, found[0] // 2)
    return found


def stack(source: Path, place: Path) -> Path:
    """Write the masked language model of ``source`` with every layer twice to ``place``; returns it."""
    from transformers import AutoModelForMaskedLM

    with quiet():
        model = AutoModelForMaskedLM.from_pretrained(source)
        layers = model.config.num_hidden_layers
        model.config.num_hidden_layers = 2 * layers
        deep = type(model)(model.config)
        known = model.state_dict()
        deep.load_state_dict({name: known[_origin(name, layers)] for name in deep.state_dict()})
        deep.save_pretrained(place)
        load_tokenizer(source).save_pretrained(place)
    return place


def _origin(name: str, layers: int) -> str:
    """The entry of the shallow model that an entry of the deep one begins as."""

    def shallow(match: re.Match[str]) -> Any:
        return f".layer.{int(match[1]) % layers}."

    return re.sub(r"\.layer\.(\d+)\.", shallow, name)

"""Progressive stacking: a deep encoder begins as a trained one of half its layers, twice over.

Source: Gong et al. 2019, Efficient Training of BERT by Progressively Stacking (ICML): the layers of a
trained BERT attend much alike, so that its copy is a good beginning for those above; and a shallow
encoder learns in a fraction of the time what all have in common, above all its table of tokens.
"""

from __future__ import annotations

import re
from pathlib import Path

from deploy.tokens import load_tokenizer
from devices.files import whole_directory
from elastic.quiet import quiet
from elastic.recipes.processes import processes

SHARES = {1: (1.0,), 2: (0.5, 0.5), 3: (0.4, 0.3, 0.3)}  # of the training, by number of depths


def depths(layers: int) -> list[int]:
    """That are trained one after the other, each twice the last; three at most."""
    found = [layers]
    while len(found) < len(SHARES) and found[0] % 2 == 0:
        found.insert(0, found[0] // 2)
    return found


def stack(source: Path, place: Path) -> Path:
    """Have the masked language model of ``source`` with every layer twice at ``place``; returns it.

    The main process writes it, whole, where it is not there; the others wait.
    """
    known = processes()
    if known.is_main_process and not place.exists():
        with quiet(), whole_directory(place) as new:
            _write_stacked(source, new)
    known.wait_for_everyone()
    return place


def _write_stacked(source: Path, place: Path) -> None:
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(source)
    layers = model.config.num_hidden_layers
    model.config.num_hidden_layers = 2 * layers
    deep = type(model)(model.config)
    known = model.state_dict()
    deep.load_state_dict({name: known[_origin(name, layers)] for name in deep.state_dict()})
    deep.save_pretrained(place)
    load_tokenizer(source).save_pretrained(place)


def _origin(name: str, layers: int) -> str:
    """The entry of the shallow model that an entry of the deep one begins as."""
    return re.sub(r"(?<=\.layer\.)\d+", lambda number: str(int(number[0]) % layers), name)

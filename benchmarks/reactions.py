"""Chemical reactions as a task for a masked language model, where the model has no tokenizer of its own.

SMILES are split by the regular expression of Schwaller et al. 2018 (10.1039/C8SC02339E) and looked up
in the model's vocab.txt. The search split is half of what calibrates; no report text is in either.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from deploy.kinds.masked_language_model import hide
from deploy.task import Split, Task
from deploy.tokens import Tokens

ATOMS = re.compile(
    r"\[[^\]]+\]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|/|:|~|@|\?|>>?|\*|\$|%[0-9]{2}|[0-9]"
)
LONGEST = 256
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def reaction_task(model: Path, seed: int) -> Task:
    """The example reactions, half to calibrate on and half to report on, 15 % of their tokens hidden."""
    words = (model / "vocab.txt").read_text().splitlines()
    number = {word: index for index, word in enumerate(words)}
    with (model / "example_rxns.csv").open() as file:
        reactions = [row["rxn"] for row in csv.DictReader(file)]
    unknown = number["[UNK]"]
    rows = [
        [
            number["[CLS]"],
            *[number.get(atom, unknown) for atom in ATOMS.findall(reaction)][: LONGEST - 2],
            number["[SEP]"],
        ]
        for reaction in reactions
    ]
    order = np.random.default_rng(seed).permutation(len(rows))
    half = len(rows) // 2
    special = {number[name] for name in SPECIAL}
    parts = {"train": order[:half], "search": order[: half // 2], "report": order[half:]}
    splits = {}
    for name, chosen in parts.items():
        ids = [rows[row] for row in chosen]
        tokens = Tokens(ids, [[0] * len(row) for row in ids])
        splits[name] = Split(hide(tokens, number["[MASK]"], special, seed))
    return Task(
        kind="masked-language-model",
        splits=splits,
        label_names=(),
        tokenizer=str(model),
        tokenizer_size=len(words),
        pad_id=number["[PAD]"],
        max_length=LONGEST,
        seed=seed,
        source={"data": str(model / "example_rxns.csv")},
    )

"""The tasks that recipes are compared on: 8,000 examples at most to train on, others to report on."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from dense_models import sst2, trec

EXAMPLES, MORE = 8000, 15_000  # of SST-2: to train on; to report on beside those held out anyway
LENGTHS = {"sst2": 32, "trec": 32, "mrpc": 64, "stsb": 64}  # of the workload, in tokens
PAIRS = {  # text, second text, label, kind of task
    "mrpc": ("MRPC", "#1 String", "#2 String", "Quality", "text-classification"),
    "stsb": ("STS-B", "sentence1", "sentence2", "score", "regression"),
}


def described(task: str, data: Path, place: Path, seed: int) -> dict[str, Any]:
    """Keywords of `cutonce train` and `search`; what is drawn is written to ``place``."""
    place.mkdir(parents=True, exist_ok=True)
    if task == "trec":
        return trec(data, place)
    if task == "sst2":
        found = sst2(data, place, seed)
        lines = found["data"].read_text(encoding="utf-8").splitlines()
        random.Random(seed).shuffle(rest := lines[1:])
        found["data"], held_out = place / "few.tsv", found["evaluation"]
        found["data"].write_text("\n".join([lines[0], *rest[:EXAMPLES], ""]), encoding="utf-8")
        # What is reported on is not trained on.
        known = {line.split("\t")[0] for line in rest[:EXAMPLES]}
        others = [line for line in rest[EXAMPLES:] if line.split("\t")[0] not in known]
        with held_out.open("a", encoding="utf-8") as file:
            file.write("\n".join([*others[:MORE], ""]))
        return found
    folder, text, pair, label, kind = PAIRS[task]
    files = data / "glue" / folder
    return {
        "data": files / "train.tsv", "evaluation": files / "dev.tsv", "text": text,
        "text_pair": pair, "label": label, "task": kind, "max_length": 64,
    }  # fmt: skip

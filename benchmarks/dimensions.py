"""Is what is cut what was masked? Every family, every elastic dimension, alone and all together.

    python benchmarks/dimensions.py [--json FILE]

One model of transformers per family, 4 layers of hidden size 128 with random weights drawn with a seed at
run time. For every dimension a random sub-network: the largest difference between the outputs of the
masked supernet and of the extracted encoder, reloaded from its files; beside it, as a share of the dense
parameters, the parameters left. Prints PASS or MISS per family: every difference at most 1e-5, every
count of parameters the closed form's.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import transformers
from common import Row, machine, verdict

from deploy.architecture import Architecture, Operator
from deploy.costs import parameters
from deploy.encoder import Encoder
from elastic.elastic_encoder import ElasticEncoder
from elastic.families import FAMILIES, load
from elastic.space import Chain, is_part, size_of
from elastic.trunk import DENSE, Trunk, Vocabulary, stream_width

VOCABULARY = 2000
USUAL = {
    "hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 512, "num_hidden_layers": 4,
    "vocab_size": VOCABULARY, "num_labels": 3,
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 128, "n_heads": 4, "hidden_dim": 512, "n_layers": 4},
    "electra": {"embedding_size": 64},
    "albert": {"embedding_size": 64},
    "modernbert": dict.fromkeys(
        ("pad_token_id", "bos_token_id", "cls_token_id", "eos_token_id", "sep_token_id"), 0
    ),
}
SIZES = {"heads": (1, 2, 3), "head_dim": (8, 16, 24), "width": (64, 128, 300)}
CLOSE = 1e-5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    seed = secrets.randbelow(2**16)
    transformers.utils.logging.disable_progress_bar()
    print(machine())
    print(f"seed drawn at run time: {seed}")
    rows: list[Row] = []
    for kind in FAMILIES:
        with TemporaryDirectory() as place:
            table = parities(kind, Path(place), seed)
        for name, (apart, share, counted) in table.items():
            print(
                f"{kind:11} {name:13} {apart:.1e}  {share:4.0%}  {'' if counted else 'MISCOUNTED'}"
            )
        worst = max(apart for apart, _, _ in table.values())
        right = all(counted for _, _, counted in table.values())
        rows.append(
            (kind, f"{len(table)} dimensions, at most {worst:.1e} apart", right and worst <= CLOSE)
        )
    return verdict(rows, args.json)


def parities(kind: str, place: Path, seed: int) -> dict[str, tuple[float, float, bool]]:
    """Per dimension: largest difference, share of parameters left, whether as many as counted."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    dense = random_model(kind, place)
    elastic = ElasticEncoder(
        dense,
        [rng.random(size_of(operator)) for operator in dense.architecture.operators],
        stream=rng.random(stream_width(dense.architecture)),
        vocabulary=Vocabulary.counted(rng.random(VOCABULARY), unknown=1),
        turned=True,
    )
    batch = random_batch(rng)
    found = {}
    for name, (chain, trunk) in sub_networks(dense.architecture, rng).items():
        elastic.extract(chain, trunk).save_pretrained(place / name)
        small = Encoder.from_pretrained(place / name)
        with torch.inference_mode(), elastic.active(chain, trunk):
            apart = float((elastic(**batch) - small(**batch)).abs().max())
        left = sum(p.numel() for p in small.parameters())
        share = left / parameters(dense.architecture)
        found[name] = apart, share, left == parameters(small.architecture)
    return found


def random_model(kind: str, place: Path) -> Encoder:
    family = FAMILIES.get(kind)
    config = transformers.AutoConfig.for_model(kind, **USUAL | OWN.get(kind, {}))
    model = getattr(transformers, family.class_for("classification"))(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(place)
    return load(place).encoder


def random_batch(rng: np.random.Generator) -> dict[str, torch.Tensor]:
    mask = (np.arange(64) < rng.integers(1, 65, (8, 1))).astype(np.int64)
    ids = rng.integers(0, VOCABULARY, (8, 64)) * mask
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": 0 * ids}
    return {name: torch.from_numpy(array) for name, array in given.items()}


def sub_networks(dense: Architecture, rng: np.random.Generator) -> dict[str, tuple[Chain, Trunk]]:
    """A random one of every dimension, and one that is cut in all of them."""
    hidden, rank = sorted(map(int, rng.integers(16, 64, 2)), reverse=True)
    every = Trunk(hidden, rank, rows=int(rng.integers(100, 1900)))

    def chain(*names: str) -> Chain:
        return tuple(smaller(operator, names, rng) for operator in dense.operators)

    return {
        **{name: (chain(name), DENSE) for name in ("attention", "feed_forward", *SIZES)},
        "hidden": (dense.operators, Trunk(hidden=every.hidden)),
        "rank": (dense.operators, Trunk(rank=every.rank)),
        "vocabulary": (dense.operators, Trunk(rows=every.rows)),
        "all": (chain("feed_forward", *SIZES), every),
    }


def smaller(
    operator: Operator, names: tuple[str, ...], rng: np.random.Generator
) -> Operator | None:
    """Of the sizes of ``names`` that it has a smaller one; dropped half of the time where its kind is
    among them."""
    if operator.kind in names and rng.random() < 0.5:
        return None
    has = [name for name in names if hasattr(operator, name)]
    found = replace(operator, **{name: int(rng.choice(SIZES[name])) for name in has})
    return found if is_part(found, operator) else operator  # heads with rotary positions are whole


if __name__ == "__main__":
    sys.exit(main())

"""Every sub-network of a real trained model with its loss and its latency: a table to search in.

    python benchmarks/make_search_table.py --data DIR [--out DIR] [--targets TARGET...] [--quick]

DIR (or CUTONCE_DATA) holds glue/SST-2 and vocab_bert_uncased. A 4-layer hidden-192 BERT is trained on
SST-2 less 5,000 sentences. Its space has 4, 2, 1 or no heads and 768, 384, 96 or no neurons in every
layer: 65,536 networks. Two tables are written for benchmarks/search.py: of networks cut in the order of
their Fisher information (`cut`), and of those that are eliminated and refitted (`refitted`).

- Loss: KL to the dense model on every sentence of the dev set (`kl_test` its mean; the single ones in
  float16 in the file beside), computed along the tree of networks, so that those that begin alike share
  what they have in common. 20 random ones are checked against the elastic encoder.
- Latency: measured once per multiset of operators, 1,225 on each target, and checked on 100 random
  members of them.

Interrupted, the same call with the same --out goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from common import drawn_seed, machine
from dense_models import prepare
from torch import Tensor, nn

from cutonce.candidates import VOCABULARY
from deploy.architecture import Architecture
from deploy.encoder import Encoder
from deploy.export_pool import ExportPool, ExportRequest
from deploy.layers import AttentionLayer
from deploy.task import Task
from deploy.workload import Workload
from devices.runtimes import Arrays
from devices.target import Target
from elastic.elastic_encoder import ElasticEncoder
from elastic.importance import IMPORTANCES
from elastic.outputs import divergence, last_mixing
from elastic.reconstruction.database import Database, eliminated
from elastic.search.divergence import Divergence
from elastic.search.each_text import EachText
from elastic.search.texts import Texts
from elastic.space import Choice, SearchSpace, resized, size_of
from elastic.tensors import tensors
from profiler.campaign import run_campaign
from profiler.job import Job
from profiler.store import Store

Array = np.ndarray[Any, Any]
SIZES = {"heads": (4, 2, 1, 0), "ffn": (768, 384, 96, 0)}
QUICK_SIZES = {"heads": (4, 2, 0), "ffn": (768, 192, 0)}
CALIBRATION, BATCH = 512, 64
WORKLOAD = Workload(1, 64)
VISITS = 9
LOADED_BYTES = 16 * 2**30  # all at once: minutes apart, a machine differs from itself
CHECKED_LOSSES, CHECKED_LATENCIES = 20, 100
NAMES = ("cut", "refitted")
TARGETS = ("local/onnxruntime/fp32@1",)


def main() -> None:
    args = parse()
    print(machine())
    seed = drawn_seed(args.out)
    print(f"seed drawn at run time: {seed}")
    dense, task, dev = prepare("sst2-small", args.data, args.out, seed, False)
    space = space_of(dense.architecture, QUICK_SIZES if args.quick else SIZES)
    print(f"{dense.architecture}: {space.size:,} networks")
    latency = measured(space, args.out, args.targets, seed)
    calibration = batches_of(task, "train", CALIBRATION, seed)
    texts = batches_of(dev or task, "report")
    places = [args.out / f"table_{name}.npy" for name in NAMES]
    left = [(name, place) for name, place in zip(NAMES, places, strict=True) if not place.exists()]
    with ProcessPoolExecutor(2, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        walk = partial(
            walked, dense=dense, space=space, calibration=calibration, texts=texts, seed=seed
        )
        list(pool.map(walk, *zip(*left, strict=True)))
    for place in places:
        write(place.with_suffix(".csv.gz"), space, np.load(place).astype(float), latency)


def walked(
    name: str,
    place: Path,
    dense: Encoder,
    space: SearchSpace,
    calibration: Sequence[Arrays],
    texts: Sequence[Arrays],
    seed: int,
) -> None:
    """Saves the loss of every network on every text."""
    elastic, database = made(name, dense, calibration, seed)
    found = Walk(elastic, space, database, texts).losses()
    check_losses(found, elastic, space, database, texts, seed)
    np.save(place, found.astype(np.float16))


def space_of(dense: Architecture, sizes: dict[str, tuple[int, ...]]) -> SearchSpace:
    kinds = list(sizes.values())
    return SearchSpace(
        dense,
        tuple(
            tuple(resized(operator, size) if size else None for size in kinds[place % 2])
            for place, operator in enumerate(dense.operators)
        ),
    )


def batches_of(task: Task, split: str, count: int | None = None, seed: int = 0) -> list[Arrays]:
    """Texts of alike lengths together; ``count`` random ones, or all."""
    tokens = task.split(split).tokens
    rows = np.arange(len(tokens.ids))
    if count is not None:
        rows = np.random.default_rng(seed).permutation(rows)[:count]
    rows = rows[np.argsort(tokens.lengths[rows], kind="stable")]
    parts = np.array_split(rows, max(1, len(rows) // BATCH))
    return [tokens.padded(part, task.pad_id) for part in parts]


def made(
    name: str, dense: Encoder, batches: Sequence[Arrays], seed: int
) -> tuple[ElasticEncoder, Database | None]:
    if name == "refitted":
        return eliminated(dense, batches, seed=seed)
    return ElasticEncoder(dense, IMPORTANCES.get("fisher")(dense, batches, seed=seed)), None


class Walk:
    """Along the tree of all networks, on all texts at once: what begins alike is computed once."""

    def __init__(
        self,
        elastic: ElasticEncoder,
        space: SearchSpace,
        database: Database | None,
        texts: Sequence[Arrays],
    ) -> None:
        self._dense, self._last = elastic.dense, last_mixing(elastic.architecture)
        self._rows = list(self._layers(elastic, space, database))
        self._below = np.cumprod([1, *(len(row) for row in self._rows[::-1])])[::-1].tolist()
        with torch.inference_mode():
            given = [tensors(batch, elastic) for batch in texts]
            pairs = [elastic.dense.embed(**inputs) for inputs in given]
            self._states, self._masks = (list(some) for some in zip(*pairs, strict=True))
            self._reference = torch.cat([elastic(**inputs) for inputs in given]).double()
        self._found = np.zeros((space.size, len(self._reference)), np.float32)

    def losses(self) -> Array:
        """KL to the dense model in nats [networks, texts], in mixed radix from the dense network on."""
        with torch.inference_mode():
            self._walk(0, self._states, 0)
        return self._found

    def _walk(self, position: int, states: list[Tensor], place: int) -> None:
        if position == len(self._rows):
            self._found[place] = self._divergences(states[0])
            return
        if position == self._last + 1:  # nothing but the first token is looked at any more
            states = [torch.cat([some[:, :1] for some in states])]
        for level, layer in enumerate(self._rows[position]):
            pairs = zip(states, self._masks, strict=False)
            apply = first_attended if position == self._last else nn.Module.__call__
            after = states if layer is None else [apply(layer, *pair) for pair in pairs]
            self._walk(position + 1, after, place + level * self._below[position + 1])
            if position < 2:
                print(f"{place + level * self._below[position + 1]:,} networks", flush=True)

    def _divergences(self, states: Tensor) -> Array:
        real = torch.ones(states.shape[:2], dtype=torch.long)
        outputs = self._dense.head(self._dense.last_norm(states), real).double()
        apart = divergence(self._dense.architecture, self._reference, outputs, real)
        found: Array = apart.clamp(min=0).numpy()
        return found

    def _layers(
        self, elastic: ElasticEncoder, space: SearchSpace, database: Database | None
    ) -> Iterator[list[nn.Module | None]]:
        """Per position a small sub-layer of every level."""
        for position, some in enumerate(space.choices):
            row: list[nn.Module | None] = []
            for level, operator in enumerate(some):
                if operator is None:
                    row.append(None)
                    continue
                choice = [0] * len(space.choices)
                choice[position] = level
                chain = space.chain(choice)
                with database.fitted(chain) if database else nullcontext():
                    row.append(elastic.extract(chain).operators[position])
            yield row


def first_attended(layer: AttentionLayer, states: Tensor, mask: Tensor) -> Tensor:
    """What an attention with its LayerNorm behind it gives for the first token: [batch, 1, hidden].

    With one query, products with the weights of keys and values can be taken after the sum over tokens.
    """
    heads = (layer.heads, layer.head_dim)
    key, value = (part.weight.unflatten(0, heads) for part in (layer.key, layer.value))
    first = states[:, :1]
    query = layer.query(first).unflatten(-1, heads)[:, 0]  # the key's bias shifts all scores alike
    scores = torch.einsum("bhd,hdx->bhx", query, key) @ states.mT * layer.head_dim**-0.5
    seen = (scores + mask[:, 0]).softmax(-1) @ states
    found = torch.einsum("bhx,hdx->bhd", seen, value).flatten(1) + layer.value.bias
    return layer.norm(first + layer.output(found)[:, None])


def check_losses(
    found: Array,
    elastic: ElasticEncoder,
    space: SearchSpace,
    database: Database | None,
    texts: Sequence[Arrays],
    seed: int,
) -> None:
    apart = Divergence(EachText(elastic, Texts(elastic.dense, texts), database))
    rows = np.random.default_rng(seed).choice(len(found), CHECKED_LOSSES, replace=False)
    means, choices = found.mean(1, dtype=float), list(networks(space))
    difference = [abs(apart(space.chain(choices[row])) / means[row] - 1) for row in rows]
    print(
        f"{CHECKED_LOSSES} losses differ from the elastic encoder's by at most {max(difference):.1e}"
    )


def networks(space: SearchSpace) -> Iterator[Choice]:
    return product(*(range(len(some)) for some in space.choices))


def representative(choice: Choice) -> Choice:
    """The network of the same operators of which the largest stand first."""
    pairs = zip(sorted(choice[::2]), sorted(choice[1::2]), strict=True)
    return tuple(level for pair in pairs for level in pair)


def measured(
    space: SearchSpace, out: Path, targets: Sequence[str], seed: int
) -> dict[str, dict[Choice, float]]:
    """Microseconds by target and network, of every multiset of operators."""
    light = replace(space.base, vocabulary=VOCABULARY)  # which no latency depends on
    every = list(dict.fromkeys(map(representative, networks(space))))
    rng = np.random.default_rng(seed)
    members = [space.sample(rng) for _ in range(CHECKED_LATENCIES)]
    found = {}
    for name in targets:
        target = Target.parse(name)
        us = campaign(light, space, target, every, out, "multisets", seed)
        both = [*members, *map(representative, members)]
        again = campaign(light, space, target, both, out, "members", seed)
        apart = np.array([again[c] / again[representative(c)] - 1 for c in members])
        print(
            f"{name}: {len(every)} multisets, dense {us[space.dense]:.0f} us; {len(members)} members: "
            f"{100 * apart.mean():+.1f} % on average, {100 * np.quantile(abs(apart), 0.9):.1f} % at p90",
            flush=True,
        )
        found[name] = us
    return found


def campaign(
    light: Architecture,
    space: SearchSpace,
    target: Target,
    choices: Sequence[Choice],
    out: Path,
    name: str,
    seed: int,
) -> dict[Choice, float]:
    """Microseconds by network, all of a target interleaved."""
    architectures = [light.with_operators(space.chain(choice)) for choice in choices]
    with ExportPool() as pool:
        files = pool.export(
            [ExportRequest(a, target.runtime, target.precision, out / "networks" / a.digest)
             for a in architectures]
        )  # fmt: skip
    jobs = [
        Job(target, a, WORKLOAD, exported.path)
        for a, exported in zip(architectures, files, strict=True)
    ]
    with Store(out / "measurements.sqlite") as store:
        done = run_campaign(
            jobs, store=store, campaign=name, seed=seed, visits=VISITS, loaded_bytes=LOADED_BYTES
        )
    times = (1e3 * measurement.statistics.intrinsic for measurement in done)
    return dict(zip(choices, times, strict=True))


def write(
    path: Path, space: SearchSpace, losses: Array, latency: dict[str, dict[Choice, float]]
) -> None:
    choices = list(networks(space))
    rows: dict[str, Any] = {"id": range(len(choices))}
    for position, some in enumerate(space.choices):
        sizes = [size_of(operator) for operator in some]
        name = f"{'ffn' if position % 2 else 'heads'}{position // 2}"
        rows[name] = [sizes[choice[position]] for choice in choices]
    rows["kl_test"] = losses.mean(1)
    for number, (target, us) in enumerate(latency.items()):
        name = f"latency_us {target}" if number else "latency_us"
        rows[name] = [round(us[representative(choice)], 1) for choice in choices]
    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6g")
    print(f"wrote {path}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("CUTONCE_DATA")
    parser.add_argument("--data", type=Path, default=data, required=data is None)
    parser.add_argument("--out", type=Path, default=Path("cutonce-search-table"))
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--quick", action="store_true", help="6,561 networks")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""The supernets that a search decodes: one on the dense trunk, one on every other that was asked for.

Where a recipe trained the sub-networks and kept the model that taught them, there are two of each: what
closed forms make of that model, and what was trained. Mild cuts are often better in the first, deep ones
in the second.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cutonce.console import progress
from cutonce.profiles import stored_tile
from cutonce.setting import Setting
from deploy.architecture import Architecture
from deploy.encoder import Encoder
from devices.errors import UsageError
from devices.files import write_json
from devices.target import Target
from elastic.checkpoint import ElasticCheckpoint
from elastic.elastic_encoder import ElasticEncoder
from elastic.families import LoadedModel, locate
from elastic.importance.stream import stream_fisher
from elastic.reconstruction.database import Database, eliminated
from elastic.search.divergence import Divergence
from elastic.search.each_text import ByText, EachText
from elastic.search.fleet_texts import FleetTexts
from elastic.search.judge import SEARCH, Judge
from elastic.search.knapsack import Errors
from elastic.search.losses import Joint, kept
from elastic.search.sensitivity import module_errors
from elastic.search.strategies.strategy import LEAST
from elastic.search.supernet import Supernet, trunk_text
from elastic.search.texts import Texts
from elastic.space import WIDTH_STEP, SearchSpace
from elastic.trunk import DENSE, Trunk
from profiler.store import Store

CALIBRATION_EXAMPLES = 512
LOSS_EXAMPLES = 256


def make_supernets(setting: Setting, targets: Iterable[Target]) -> list[Supernet]:
    """Those of every trunk of ``setting``, the model's own on the dense one first; what is found of each
    is kept in the run."""
    step, trained = width_step(setting.store, targets), setting.trained
    batches = setting.task.batches("search", limit=LOSS_EXAMPLES)
    texts = Texts(setting.model.encoder, batches, seed=setting.seed)
    found = []
    if trained is None or trained.teacher is not None:
        found += [_make(setting, trunk, step, texts) for trunk in setting.trunks]
    if trained is not None:
        found += [_take(setting, trained, trunk, texts) for trunk in setting.trunks]
    return found


def width_step(store: Store, targets: Iterable[Target]) -> int:
    """The largest tile found on any target."""
    tiles = [stored_tile(store, target) for target in targets]
    return max((tile for tile in tiles if tile is not None), default=WIDTH_STEP)


def _make(setting: Setting, trunk: Trunk, step: int, texts: Texts) -> Supernet:
    work, label = _named(setting.run.work, trunk)
    elastic, database = _make_elastic(setting, on_trunk(setting, trunk), label)
    space = make_space(work, elastic.architecture, step)
    errors = _make_errors(work, elastic, space, texts, database, label)
    joint = _make_joint(setting, work, elastic, space, texts, database)
    judge = Judge(errors, joint, seed=setting.seed, progress=progress)
    return Supernet(trunk, elastic, database, space, errors, judge)


def _named(work: Path, trunk: Trunk) -> tuple[Path, str]:
    """Where what is found of a trunk is kept, and what is said of it."""
    if trunk == DENSE:
        return work, ""
    name = trunk_text(trunk)
    return work / name.replace(", ", "-").replace(" ", ""), f" with {name}"


def _take(setting: Setting, trained: ElasticCheckpoint, trunk: Trunk, texts: Texts) -> Supernet:
    """What a recipe trained, in its own order and space, its weights as they are."""
    work, label = _named(setting.run.work / "trained", trunk)
    elastic, space = ElasticEncoder(trained.encoder), trunk.space(trained.space)
    known, likely = [*trained.networks.values()], trained.likely
    if trunk != DENSE:  # which they are not of
        elastic = ElasticEncoder(elastic.extract(elastic.architecture.operators, trunk))
        known, likely = [], ()
    errors = _make_errors(work, elastic, space, texts, None, f"{label}, as trained")
    judge = Judge(
        errors,
        _make_joint(setting, work, elastic, space, texts, None),
        known=[trained.choice(chain) for chain in known],
        unlikely=[-np.log(np.maximum(row, LEAST)) for row in likely],
        seed=setting.seed,
        progress=progress,
    )
    taught = trained.teacher is not None
    return Supernet(trunk, elastic, None, space, errors, judge, taught)


def trained_supernet(model: LoadedModel, trunks: Sequence[Trunk]) -> ElasticCheckpoint | None:
    """What a recipe trained the model's sub-networks to, in the order and the space that they have.

    Raises UsageError where a trunk is asked for that was not trained.
    """
    found = ElasticCheckpoint.read(locate(model.source), model.encoder)
    if found is None or found.space.size == 1:
        return None
    strange = [trunk_text(trunk) for trunk in trunks if trunk not in found.trunks]
    if strange:
        known = "; ".join(trunk_text(trunk) or "the dense sizes" for trunk in found.trunks)
        raise UsageError(
            f"{model.source} was not trained with {'; '.join(strange)}, but with {known}; ask for those, "
            "or search the model that it was trained from."
        )
    return found


def on_trunk(setting: Setting, trunk: Trunk) -> Encoder:
    """The model cut to a trunk: of the stream what carries most of the loss's curvature, of the table of
    tokens its first singular vectors."""
    dense = setting.model.encoder
    if trunk == DENSE:
        return dense
    stream = None
    if trunk.hidden is not None:
        batches = setting.task.batches("train", limit=CALIBRATION_EXAMPLES)
        stream = stream_fisher(dense, batches, seed=setting.seed)
    return ElasticEncoder(dense, stream=stream).extract(dense.architecture.operators, trunk)


def make_space(work: Path, dense: Architecture, step: int) -> SearchSpace:
    """The space around ``dense``, its widths in steps of ``step``.

    An interrupted search goes on in the space that it began with, whatever was profiled meanwhile.
    """
    path = work / "space.json"
    if path.exists():
        return SearchSpace.from_json(json.loads(path.read_text()))
    space = SearchSpace.around(dense, width_step=step)
    write_json(path, space.to_json())
    return space


def _make_elastic(
    setting: Setting, encoder: Encoder, label: str
) -> tuple[ElasticEncoder, Database]:
    """The elastic encoder in the order of elimination, and what its sub-layers could be, from texts of
    the train split without their labels."""
    with progress(f"order of heads and neurons{label}"):
        batches = setting.task.batches("train", limit=CALIBRATION_EXAMPLES)
        return eliminated(encoder, batches, seed=setting.seed)


def _make_errors(
    work: Path,
    elastic: ElasticEncoder,
    space: SearchSpace,
    texts: Texts,
    database: Database | None,
    label: str,
) -> Errors:
    """The error of every module's every choice, from texts of the search split without their labels."""
    path = work / "errors.json"
    if path.exists():
        return [np.asarray(row) for row in json.loads(path.read_text())]
    with progress(f"error of every module at every size{label}") as advance:
        errors = module_errors(elastic, space, texts, database, every=SEARCH, progress=advance)
    write_json(path, [row.tolist() for row in errors])
    return errors


def _make_joint(
    setting: Setting,
    work: Path,
    elastic: ElasticEncoder,
    space: SearchSpace,
    texts: Texts,
    database: Database | None,
) -> Joint:
    """The divergence of choices from the model, on texts of the search split, each evaluated once."""
    by_text: ByText = (
        EachText(elastic, texts, database)
        if setting.fleet is None
        else FleetTexts(setting.fleet, elastic, texts, database)
    )
    apart = Divergence(by_text)
    return kept(lambda choice, every: apart(space.chain(choice), every), work / "divergences.jsonl")

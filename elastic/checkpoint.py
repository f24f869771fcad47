"""Elastic checkpoints: a dense encoder whose sub-networks were trained with it, and which they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from deploy.architecture import Architecture
from deploy.encoder import Encoder
from devices.errors import ModelError, UsageError
from devices.files import write_json
from elastic.search.knapsack import Array
from elastic.space import Chain, Choice, SearchSpace, size_of
from elastic.trunk import DENSE, Trunk

SCHEMA = 2
RECORD, TEACHER = "elastic.json", "teacher"


@dataclass(frozen=True, eq=False)
class ElasticCheckpoint:
    """What a recipe leaves.

    Attributes:
        recipe: its name.
        encoder: the dense one; of every sub-layer a sub-network has the first heads or neurons.
        space: what sub-networks may have at every position.
        passes: what the training cost: of one example through the dense encoder, forward and back, a
            smaller one counted by its multiply-accumulates.
        networks: sub-networks that have a name.
        likely: per position how likely each choice of ``space`` is to be of the best sub-network, as
            far as the recipe learnt it: a search may begin with that. Empty where it did not.
        trunks: hidden sizes and ranks that were trained, the dense ones first.
        teacher: the encoder before it was trained, whose sub-networks a search looks at, too; None where
            the recipe does not keep it.
    """

    recipe: str
    encoder: Encoder
    space: SearchSpace
    passes: float
    networks: Mapping[str, Chain] = field(default_factory=dict)
    likely: Sequence[Array] = ()
    trunks: tuple[Trunk, ...] = (DENSE,)
    teacher: Encoder | None = None

    @classmethod
    def of_one(cls, recipe: str, encoder: Encoder, passes: float) -> ElasticCheckpoint:
        """Of a recipe that ends in one network: its space has no other."""
        operators = encoder.architecture.operators
        space = SearchSpace(encoder.architecture, tuple((operator,) for operator in operators))
        return cls(recipe, encoder, space, passes)

    def save(self, directory: Path) -> None:
        """Write the encoder, and the record and the teacher beside it."""
        self.encoder.save_pretrained(directory)
        if self.teacher is not None:
            self.teacher.save_pretrained(directory / TEACHER)
        record = {
            "schema": SCHEMA,
            "recipe": self.recipe,
            "space": self.space.to_json(),
            "passes": self.passes,
            "networks": {name: self.choice(chain) for name, chain in self.networks.items()},
            "likely": [row.tolist() for row in self.likely],
            "trunks": [asdict(trunk) for trunk in self.trunks],
        }
        write_json(directory / RECORD, record)

    def choice(self, chain: Chain) -> Choice:
        """Which network of the space ``chain`` is."""
        pairs = zip(self.space.choices, chain, strict=True)
        return tuple(some.index(operator) for some, operator in pairs)

    @classmethod
    def read(cls, directory: Path, encoder: Encoder) -> ElasticCheckpoint | None:
        """The checkpoint in ``directory``, of which ``encoder`` was loaded; None for any other model.

        Raises:
            ModelError: the record is damaged, of another schema, or of another encoder.
        """
        path, teacher = directory / RECORD, directory / TEACHER
        if not path.exists():
            return None
        try:
            record = json.loads(path.read_text())
            if record["schema"] != SCHEMA:
                raise ValueError(f"schema {record['schema']}, expected {SCHEMA}")
            space = SearchSpace.from_json(record["space"])
            if space.base != encoder.architecture:
                raise ValueError("its space is of another architecture")
            return cls(
                record["recipe"],
                encoder,
                space,
                float(record["passes"]),
                {name: space.chain(choice) for name, choice in record["networks"].items()},
                [np.asarray(row, dtype=float) for row in record["likely"]],
                tuple(Trunk(**sizes) for sizes in record["trunks"]),
                Encoder.from_pretrained(teacher) if teacher.exists() else None,
            )
        except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
            raise ModelError(
                f"{path} is damaged ({type(error).__name__}: {error}); `cutonce train` writes it."
            ) from error


def space_of(dense: Architecture, chains: Sequence[Chain]) -> SearchSpace:
    """What any of ``chains`` has at every position, the largest first."""
    found = []
    for position, whole in enumerate(dense.operators):
        some = {chain[position] for chain in chains} - {whole, None}
        smaller = sorted(some, key=size_of, reverse=True)
        dropped = [None] if any(chain[position] is None for chain in chains) else []
        found.append((whole, *smaller, *dropped))
    return SearchSpace(dense, tuple(found))

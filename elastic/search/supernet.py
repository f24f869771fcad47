"""A supernet: all sub-networks on one trunk, and what they cost in quality.

What all sub-layers share, hidden size and embedding rank, couples everything, so that no sum over
sub-layers tells what it costs. It is looped over instead of decoded: one supernet per trunk, each with a
dynamic programme and a posterior of its own; all are judged against the encoder that was given.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

from deploy.architecture import Architecture
from deploy.encoder import Encoder
from elastic.elastic_encoder import ElasticEncoder
from elastic.reconstruction.database import Database
from elastic.search.judge import Judge
from elastic.search.knapsack import Errors
from elastic.search.under_way import sub_network
from elastic.space import Chain, Choice, SearchSpace, chain_text
from elastic.trunk import DENSE, Trunk


@dataclass(frozen=True, eq=False)
class Supernet:
    """All sub-networks on ``trunk``.

    Attributes:
        elastic: of the encoder that was given, cut to the trunk. database: of its sub-layers;
            None where they were trained.
        errors: per position, of each choice by itself.
        taught: whether ``elastic`` was trained to be cut by the encoder that was given, and is another.
    """

    trunk: Trunk
    elastic: ElasticEncoder
    database: Database | None
    space: SearchSpace
    errors: Errors
    judge: Judge
    taught: bool = False

    @property
    def dense(self) -> Network:
        """All that there is on this trunk."""
        return Network(self, self.space.dense)


@dataclass(frozen=True)
class Network:
    """One sub-network of one supernet."""

    supernet: Supernet
    choice: Choice

    @property
    def is_dense(self) -> bool:
        """Whether it is the encoder that was given."""
        whole = self.supernet.trunk == DENSE and self.choice == self.supernet.space.dense
        return whole and not self.supernet.taught

    @property
    def chain(self) -> Chain:
        return self.supernet.space.chain(self.choice)

    @property
    def chain_text(self) -> list[str]:
        return chain_text(self.chain, self.supernet.space.base)

    @property
    def trunk_text(self) -> str:
        return trunk_text(self.supernet.trunk)

    @property
    def architecture(self) -> Architecture:
        return self.supernet.space.architecture(self.choice)

    @property
    def digest(self) -> str:
        """16 hex digits that name it in one search."""
        supernet = self.supernet
        described = json.dumps([self.choice, asdict(supernet.trunk), supernet.taught])
        return hashlib.sha256(described.encode()).hexdigest()[:16]

    def extract(self) -> Encoder:
        return self.supernet.elastic.extract(self.chain)

    def active(self) -> AbstractContextManager[None]:
        """The supernet's elastic encoder computes as this network, refitted, while the block runs."""
        return sub_network(self.supernet.elastic, self.chain, self.supernet.database)


def trunk_text(trunk: Trunk) -> str:
    """``hidden 192, rank 64``; empty for the dense trunk."""
    kept = asdict(trunk).items()
    return ", ".join(f"{name} {size}" for name, size in kept if size is not None)

"""Sub-networks evaluated by the workers of a real cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from devices import cluster
from devices.errors import Unreachable
from elastic.elastic_encoder import ElasticEncoder
from elastic.reconstruction.database import eliminated
from elastic.search.divergence import Divergence
from elastic.search.each_text import EachText
from elastic.search.fleet_texts import FleetTexts
from elastic.search.texts import Texts
from elastic.space import Chain, SearchSpace
from tests.cluster import start_cluster


@pytest.fixture(scope="module")
def fleet() -> Iterator[str]:
    """The address of a cluster with one device and two workers that offer none."""
    pytest.importorskip("distributed")
    with start_cluster({"one": 7}, free=2) as running:
        yield running.scheduler_address
        cluster.disconnect(running.scheduler_address)


@pytest.fixture
def texts(encoder, batches) -> Texts:
    return Texts(encoder, batches)


def drawn(elastic: ElasticEncoder, count: int) -> list[Chain]:
    space = SearchSpace.around(elastic.architecture, width_step=16, width_levels=2)
    rng = np.random.default_rng(0)
    return [space.chain(space.sample(rng)) for _ in range(count)]


def test_a_fleet_finds_what_one_process_finds(fleet, encoder, batches, texts) -> None:
    elastic, database = eliminated(encoder, batches)
    there = Divergence(FleetTexts(fleet, elastic, texts, database))
    here = Divergence(EachText(elastic, texts, database))
    for chain in drawn(elastic, 3):
        for every in (4, 1):
            assert there(chain, every) == pytest.approx(here(chain, every), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("dies", [0, 1])
def test_workers_that_die_are_made_up_for(fleet, encoder, texts, dies) -> None:
    elastic = ElasticEncoder(encoder)
    first, second = drawn(elastic, 2)
    client = cluster.connect(fleet)
    client.wait_for_workers(3)  # one may have died in another test
    there, here = (
        Divergence(some) for some in (FleetTexts(fleet, elastic, texts), EachText(elastic, texts))
    )
    assert there(first) == pytest.approx(here(first), rel=1e-6)
    client.amm.run_once()  # as the scheduler does every two seconds: one copy of anything is enough
    free = cluster.workers(client, lambda facts: not facts["resources"])
    [pid] = client.run(os.getpid, workers=[free[dies]]).values()
    os.kill(pid, signal.SIGKILL)
    assert there(second) == pytest.approx(here(second), rel=1e-6)


def test_workers_that_offer_a_device_are_left_alone(encoder, texts, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 3.0)
    with start_cluster({"one": 7}) as running:
        address = running.scheduler_address
        with pytest.raises(Unreachable, match="without --resources"):
            FleetTexts(address, ElasticEncoder(encoder), texts)
        cluster.disconnect(address)


def test_what_fails_there_fails_as_here(fleet, encoder, texts) -> None:
    elastic = ElasticEncoder(encoder)
    texts.outputs = [outputs.repeat(1, 2) for outputs in texts.outputs]
    [chain] = drawn(elastic, 1)
    with pytest.raises(RuntimeError, match="size of tensor"):
        Divergence(FleetTexts(fleet, elastic, texts))(chain)


def test_workers_that_are_gone_are_told(encoder, texts) -> None:
    elastic = ElasticEncoder(encoder)
    with start_cluster({}, free=1) as running:
        address = running.scheduler_address
        there = FleetTexts(address, elastic, texts)
        running.sync(running.workers[0].close)
        with pytest.raises(Unreachable, match="without --resources"):
            there(*drawn(elastic, 1), (0, 1))
        cluster.disconnect(address)

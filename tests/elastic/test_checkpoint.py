import json

import numpy as np
import pytest

from deploy.encoder import Encoder
from devices.errors import ModelError
from elastic.checkpoint import RECORD, ElasticCheckpoint, space_of
from elastic.space import resized
from elastic.trunk import DENSE, Trunk


@pytest.fixture
def checkpoint(encoder) -> ElasticCheckpoint:
    attention, feed_forward, *_ = encoder.architecture.operators
    half = (resized(attention, 2), resized(feed_forward, 24), None, None)
    space = space_of(encoder.architecture, [encoder.architecture.operators, half])
    likely = [np.full(len(some), 1 / len(some)) for some in space.choices]
    trunks = (DENSE, Trunk(hidden=16))
    return ElasticCheckpoint("dynabert", encoder, space, 12.5, {"half": half}, likely, trunks)


def test_it_is_read_as_it_was_saved(checkpoint, tmp_path) -> None:
    checkpoint.save(tmp_path)
    encoder = Encoder.from_pretrained(tmp_path)
    found = ElasticCheckpoint.read(tmp_path, encoder)
    assert (found.recipe, found.passes, found.encoder) == ("dynabert", 12.5, encoder)
    assert found.trunks == checkpoint.trunks
    assert (found.space, dict(found.networks)) == (checkpoint.space, dict(checkpoint.networks))
    for mine, theirs in zip(found.likely, checkpoint.likely, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_space_of_chains_has_what_any_of_them_has(checkpoint, encoder) -> None:
    attention, feed_forward, *_ = encoder.architecture.operators
    assert checkpoint.space.choices == (
        (attention, resized(attention, 2)), (feed_forward, resized(feed_forward, 24)),
        (attention, None), (feed_forward, None),
    )  # fmt: skip


def test_another_model_has_no_record(encoder, tmp_path) -> None:
    encoder.save_pretrained(tmp_path)
    assert ElasticCheckpoint.read(tmp_path, encoder) is None


@pytest.mark.parametrize(
    "change", [{"schema": 99}, {"networks": {"x": [9]}}, {"space": {}}, {"passes": None}]
)
def test_a_damaged_record_is_named(checkpoint, tmp_path, change) -> None:
    checkpoint.save(tmp_path)
    path = tmp_path / RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=r"elastic\.json is damaged"):
        ElasticCheckpoint.read(tmp_path, checkpoint.encoder)


def test_the_record_of_another_encoder_is_refused(checkpoint, make_encoder, tmp_path) -> None:
    checkpoint.save(tmp_path)
    with pytest.raises(ModelError, match=r"another architecture"):
        ElasticCheckpoint.read(tmp_path, make_encoder(2))

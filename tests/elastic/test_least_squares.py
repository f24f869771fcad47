"""Reconstruction on encoders whose redundancy is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deploy.architecture import Architecture, Attention, FeedForward
from deploy.costs import parameters
from deploy.encoder import Encoder
from devices.errors import UsageError
from devices.runtimes import Arrays
from elastic.elastic_encoder import ElasticEncoder
from elastic.importance.stream import stream_fisher
from elastic.outputs import divergence
from elastic.reconstruction.least_squares import reconstruct
from elastic.space import SearchSpace
from elastic.tensors import tensors
from elastic.trunk import Trunk


def many(count: int, seed: int) -> list[Arrays]:
    rng = np.random.default_rng(seed)
    batches = []
    for _ in range(count):
        lengths = rng.integers(4, 13, 16)
        mask = (np.arange(12) < lengths[:, None]).astype(np.int64)
        ids = rng.integers(0, 40, (16, 12))
        batches.append({"input_ids": ids, "attention_mask": mask, "token_type_ids": 0 * ids})
    return batches


def loss(dense: Encoder, student: Encoder, batches: list[Arrays]) -> float:
    total = 0.0
    with torch.inference_mode():
        for batch in batches:
            inputs = tensors(batch, dense)
            total += float(
                divergence(
                    dense.architecture, dense(**inputs), student(**inputs), inputs["attention_mask"]
                ).mean()
            )
    return total / len(batches)


def test_the_dense_encoder_stays_what_it_is(encoder: Encoder) -> None:
    elastic = ElasticEncoder(encoder)
    chain = encoder.architecture.operators
    student = elastic.extract(chain)
    reconstruct(encoder, student, chain, many(4, 0))
    inputs = tensors(many(1, 1)[0], encoder)
    with torch.inference_mode():
        torch.testing.assert_close(student(**inputs), encoder(**inputs), atol=1e-4, rtol=0)


@pytest.mark.parametrize("drop", [False, True])
def test_it_recovers_part_of_what_was_cut(encoder: Encoder, drop: bool) -> None:
    elastic = ElasticEncoder(encoder)
    space = SearchSpace.around(encoder.architecture, width_step=16)
    choice = [1] * len(space.choices)
    if drop:
        choice[1] = len(space.choices[1]) - 1
    chain = space.chain(choice)
    cut, refitted = elastic.extract(chain), elastic.extract(chain)
    reconstruct(encoder, refitted, chain, many(12, 0))
    unseen = many(6, 1)
    assert loss(encoder, refitted, unseen) < 0.7 * loss(encoder, cut, unseen)


@pytest.mark.parametrize(
    "head",
    [
        {"labels": 3},
        {"labels": 3, "pooling": "mean", "normed_head": True},
        {"labels": 3, "head": "token-classification"},
        {"labels": 2, "head": "question-answering", "normed_head": True},
        {"head": "masked-language-model", "pooler": "gelu"},
    ],
)
def test_a_head_makes_up_for_shared_layers_that_go(head: dict[str, Any]) -> None:
    """Weights that layers share stay as they are, so that nothing but the head can."""
    encoder, elastic = sharing(**head)
    layers = encoder.architecture.operators
    chain = (*layers[:2], None, None, *layers[4:])
    cut, refitted = elastic.extract(chain), elastic.extract(chain)
    reconstruct(elastic.dense, refitted, chain, many(12, 0))
    assert changed(cut, refitted)
    assert all(name.startswith("head.") for name in changed(cut, refitted))
    unseen = many(6, 1)
    assert loss(encoder, refitted, unseen) < 0.8 * loss(encoder, cut, unseen)


def test_the_last_layer_makes_up_for_those_after_it_in_weights_of_its_own(tmp_path: Path) -> None:
    encoder, elastic = sharing(head="masked-language-model", pooler="gelu")
    chain = (*encoder.architecture.operators[:4], None, None)
    cut, refitted = elastic.extract(chain), elastic.extract(chain)
    reconstruct(elastic.dense, refitted, chain, many(12, 0))
    places = {name.split(".")[1] for name in changed(cut, refitted) if name.startswith("operators")}
    assert places == {"1", "3"}  # of the two feed-forwards neither shares with another now
    assert refitted.architecture.shares == (0, 1, 0, 3)
    counted = sum(p.numel() for p in refitted.parameters())
    assert counted == parameters(refitted.architecture) > parameters(cut.architecture)
    refitted.save_pretrained(tmp_path)
    assert not changed(refitted, Encoder.from_pretrained(tmp_path))
    unseen = many(6, 1)
    assert loss(encoder, refitted, unseen) < 0.6 * loss(encoder, cut, unseen)


def sharing(**head: Any) -> tuple[Encoder, ElasticEncoder]:
    """An encoder whose three layers are one."""
    torch.manual_seed(0)
    layers = (Attention(4, 8), FeedForward(48, "gelu")) * 3
    architecture = Architecture(40, 32, layers, positions=16, shares=(0, 1, 0, 1, 0, 1), **head)
    encoder = Encoder(architecture).eval()
    return encoder, ElasticEncoder(encoder)


def changed(one: Encoder, other: Encoder) -> set[str]:
    """The weights that are not alike."""
    others = other.state_dict()
    return {
        name for name, given in one.state_dict().items() if not torch.equal(given, others[name])
    }


def test_units_that_repeat_others_are_cut_for_free(make_encoder: Callable[..., Encoder]) -> None:
    encoder = make_encoder()
    layer = encoder.operators[1]
    with torch.no_grad():
        layer.up.weight[16:32] = layer.up.weight[:16]
        layer.up.bias[16:32] = layer.up.bias[:16]
        layer.up.weight[32:] = layer.up.weight[:16]
        layer.up.bias[32:] = layer.up.bias[:16]
    space = SearchSpace.around(encoder.architecture, width_step=16)
    choice = list(space.dense)
    choice[1] = next(i for i, op in enumerate(space.choices[1]) if op and op.width == 16)
    chain = space.chain(choice)
    cut, student = (ElasticEncoder(encoder).extract(chain) for _ in range(2))
    reconstruct(encoder, student, chain, many(12, 0))
    unseen = many(4, 1)
    assert loss(encoder, student, unseen) < 0.01 * loss(encoder, cut, unseen)


def test_padding_does_not_count(encoder: Encoder) -> None:
    elastic = ElasticEncoder(encoder)
    chain = SearchSpace.around(encoder.architecture, width_step=16).chain([1] * 4)
    batches = many(4, 0)
    changed = [
        {**batch, "input_ids": np.where(batch["attention_mask"], batch["input_ids"], 7)}
        for batch in batches
    ]
    one, other = elastic.extract(chain), elastic.extract(chain)
    reconstruct(encoder, one, chain, batches)
    reconstruct(encoder, other, chain, changed)
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


def test_one_short_text_cannot_blow_it_up(encoder: Encoder) -> None:
    elastic = ElasticEncoder(encoder)
    chain = SearchSpace.around(encoder.architecture, width_step=16).chain([1] * 4)
    student = elastic.extract(chain)
    largest = max(float(p.detach().abs().max()) for p in student.parameters())
    ids = np.array([[2, 3]])
    reconstruct(
        encoder,
        student,
        chain,
        [{"input_ids": ids, "attention_mask": 0 * ids + 1, "token_type_ids": 0 * ids}],
    )
    assert all(torch.isfinite(p).all() for p in student.parameters())
    assert max(float(p.detach().abs().max()) for p in student.parameters()) < 10 * largest


def test_no_batches_are_refused(encoder: Encoder) -> None:
    with pytest.raises(UsageError, match="at least one batch"):
        reconstruct(encoder, encoder, encoder.architecture.operators, [])


def test_a_smaller_hidden_size_is_made_up_for(encoder: Encoder) -> None:
    worth = stream_fisher(encoder, many(8, 0))
    elastic = ElasticEncoder(encoder, stream=worth)
    chain, trunk = encoder.architecture.operators, Trunk(hidden=28)
    cut, refitted = elastic.extract(chain, trunk), elastic.extract(chain, trunk)
    reconstruct(elastic.dense, refitted, chain, many(12, 0))
    unseen = many(6, 1)
    assert loss(encoder, refitted, unseen) < 0.7 * loss(encoder, cut, unseen)

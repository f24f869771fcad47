"""Hidden size, rank and rows of the table of tokens, and smaller heads: what is masked is what is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.architecture import (
    Architecture,
    Attention,
    FeedForward,
    Projection,
    SeparableConvolution,
)
from deploy.costs import parameters
from deploy.encoder import Encoder
from devices.errors import UsageError
from elastic.elastic_encoder import ElasticEncoder
from elastic.importance.stream import stream_fisher
from elastic.space import SearchSpace, size_of
from elastic.tensors import tensors
from elastic.trunk import Trunk, Vocabulary, stream_width

LAYERS = {
    "post": (
        Attention(4, 8),
        FeedForward(24),
        SeparableConvolution(3),
        FeedForward(16, gated=True),
    ),
    "pre": (Attention(4, 8, normed=False), FeedForward(24), Attention(2, 16), FeedForward(16)),
    "projected": (Projection(32), Attention(4, 8), FeedForward(24)),
}
HEADS = {
    "classification": {"labels": 3},
    "normed": {"labels": 3, "normed_head": True, "pooler": "gelu", "pooling": "mean"},
    "token": {"labels": 3, "head": "token-classification"},
    "masked": {"head": "masked-language-model"},
}
seeds = st.integers(0, 2**32 - 1)


def made(layers: str, head: str) -> Encoder:
    """An encoder whose every weight matters."""
    hidden = 16 if layers == "projected" else 32
    norm = "pre" if layers == "pre" else "post"
    torch.manual_seed(0)
    encoder = Encoder(
        Architecture(40, hidden, LAYERS[layers], positions=16, norm=norm, **HEADS[head])
    )
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            parameter.normal_(float(name.endswith("norm.weight")), 0.3)
    return encoder.eval()


def elastic_of(encoder: Encoder, seed: int) -> ElasticEncoder:
    rng = np.random.default_rng(seed)
    a = encoder.architecture
    return ElasticEncoder(
        encoder,
        [rng.random(size_of(op)) for op in a.operators],
        stream=rng.random(stream_width(a)),
        vocabulary=Vocabulary.counted(rng.random(a.vocabulary), unknown=3, always=(0, 7)),
        turned=True,
    )


def answer(model: torch.nn.Module, batch: dict[str, np.ndarray]) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(**tensors(batch, model))
    return found


@pytest.mark.parametrize("head", list(HEADS))
@pytest.mark.parametrize("layers", list(LAYERS))
@settings(max_examples=12, deadline=None)
@given(seed=seeds)
def test_masked_equals_extracted_in_any_combination(layers, head, batches, seed) -> None:
    encoder = made(layers, head)
    elastic = elastic_of(encoder, seed)
    torch.testing.assert_close(
        answer(elastic, batches[0]), answer(encoder, batches[0]), atol=1e-4, rtol=0
    )
    rng = np.random.default_rng(seed)
    space = SearchSpace.around(encoder.architecture, width_step=4, head_sizes=(2, 5))
    chain = space.chain(space.sample(rng))
    rank, hidden, rows = (
        rng.choice([None, size]) for size in sorted(rng.integers(4, 17, 3).tolist())
    )
    trunk = Trunk(hidden, rank, rows)
    small = elastic.extract(chain, trunk)
    assert sum(p.numel() for p in small.parameters()) == parameters(small.architecture)
    for batch in batches:
        with elastic.active(chain, trunk):
            masked = answer(elastic, batch)
        torch.testing.assert_close(answer(small, batch), masked, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", ["classification", "masked"])
def test_what_was_cut_comes_back_and_can_be_cut_again(head, batches, tmp_path) -> None:
    elastic = elastic_of(made("post", head), 0)
    small = elastic.extract(elastic.architecture.operators, Trunk(hidden=24, rank=12, rows=20))
    assert small.architecture.table == (20, 12)
    assert small.tokens.weight.shape == (20, 12)
    small.save_pretrained(tmp_path)
    again = Encoder.from_pretrained(tmp_path)
    assert again.architecture == small.architecture
    assert torch.equal(answer(again, batches[0]), answer(small, batches[0]))
    twice = ElasticEncoder(again)
    chain, trunk = twice.architecture.operators, Trunk(hidden=20, rank=6)
    with twice.active(chain, trunk):
        masked = answer(twice, batches[0])
    smallest = twice.extract(chain, trunk)
    torch.testing.assert_close(answer(smallest, batches[0]), masked, atol=1e-5, rtol=1e-5)
    with pytest.raises(UsageError, match="cut once"):
        twice.extract(chain, Trunk(rows=10))


def test_full_rank_and_all_rows_keep_the_function(batches) -> None:
    encoder = made("post", "classification")
    elastic = elastic_of(encoder, 1)
    small = elastic.extract(elastic.architecture.operators, Trunk(32, 32, 40))
    torch.testing.assert_close(answer(small, batches[0]), answer(encoder, batches[0]))


def test_the_table_of_least_error_is_taken() -> None:
    encoder = made("post", "classification")
    elastic = ElasticEncoder(encoder)
    small = elastic.extract(elastic.architecture.operators, Trunk(rank=5))
    table = encoder.tokens.weight.detach().double()
    left, values, right = torch.linalg.svd(table, full_matrices=False)
    best = left[:, :5] * values[:5] @ right[:5]
    with torch.no_grad():
        found = small.expand(small.tokens.weight).double()
    torch.testing.assert_close(found, best, atol=1e-5, rtol=0)


def head_products(layer: torch.nn.Module, size: int) -> list[torch.Tensor]:
    """What every head computes of its input with its first ``size`` dimensions: scores and context."""
    query, key, value = (
        getattr(layer, name).weight.detach().double().unflatten(0, (4, 8))[:, :size]
        for name in ("query", "key", "value")
    )
    output = layer.output.weight.detach().double().unflatten(1, (4, 8))[:, :, :size]
    return [query.mT @ key, output.transpose(0, 1) @ value]


def test_turned_heads_carry_most_in_their_first_dimensions() -> None:
    encoder = made("post", "classification")
    with torch.no_grad():
        for linear in (encoder.operators[0].query, encoder.operators[0].key):
            linear.bias.zero_()
    turned = ElasticEncoder(encoder, turned=True).dense.operators[0]
    wholes = head_products(encoder.operators[0], 8)
    firsts = head_products(turned, 3)
    for whole, first in zip(wholes, firsts, strict=True):
        values = torch.linalg.svdvals(whole)
        lost = (whole - first).square().sum((1, 2))
        if whole is wholes[0]:
            torch.testing.assert_close(lost, values[:, 3:].square().sum(1), atol=1e-5, rtol=1e-4)
        assert (lost < 0.6 * whole.square().sum((1, 2))).all()


def test_the_most_frequent_tokens_keep_their_rows(batches) -> None:
    counts = np.zeros(40)
    counts[[9, 4, 30]] = 5, 7, 6
    vocabulary = Vocabulary.counted(counts, unknown=3, always=(0,))
    assert vocabulary.kept(4).tolist() == [0, 3, 4, 30]
    elastic = ElasticEncoder(made("post", "classification"), vocabulary=vocabulary)
    small = elastic.extract(elastic.architecture.operators, Trunk(rows=4))
    batch = dict(batches[0])
    batch["input_ids"] = np.full_like(batch["input_ids"], 9)
    unknown = answer(small, batch | {"input_ids": np.full_like(batch["input_ids"], 3)})
    assert torch.equal(answer(small, batch), unknown)
    kept = batch | {"input_ids": np.full_like(batch["input_ids"], 30)}
    assert torch.equal(answer(small, kept), answer(elastic, kept))


def test_dimensions_that_nothing_reads_are_worth_nothing(batches) -> None:
    encoder = made("post", "classification")
    with torch.no_grad():
        for norm in (encoder.norm, *(layer.norm for layer in encoder.operators)):
            norm.weight[5] = norm.bias[5] = 0
    worth = stream_fisher(encoder, batches)
    assert worth.shape == (32,)
    assert worth[5] == 0
    assert np.delete(worth, 5).min() > 0


def test_worth_is_of_each_example_alone(batches) -> None:
    encoder = made("pre", "masked")
    labels = [np.full(batch["input_ids"].shape, 2) for batch in batches]
    single = [
        {k: v[i : i + 1] for k, v in b.items()} for b in batches for i in range(len(b["input_ids"]))
    ]
    apart = [row[None] for some in labels for row in some]
    np.testing.assert_allclose(
        stream_fisher(encoder, batches, labels=labels),
        stream_fisher(encoder, single, labels=apart),
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    "trunk", [Trunk(33), Trunk(0), Trunk(rank=40), Trunk(rows=41), Trunk(8, 9)]
)
def test_a_trunk_that_does_not_fit_is_refused(trunk) -> None:
    elastic = elastic_of(made("post", "classification"), 0)
    chain = elastic.architecture.operators
    with pytest.raises(UsageError, match=r"cannot be|rank 9"):
        elastic.extract(chain, trunk)
    with pytest.raises(UsageError, match=r"cannot be|rank 9"), elastic.active(chain, trunk):
        pass


def test_a_hidden_size_that_is_not_one_or_is_given_out_is_refused() -> None:
    changing = Architecture(40, 32, (Attention(4, 8), Projection(16), FeedForward(8)), labels=2)
    with pytest.raises(UsageError, match="changes along its chain"):
        Trunk(hidden=8).of(changing)
    with pytest.raises(UsageError, match="gives its hidden state out"):
        Trunk(hidden=8).of(Architecture(40, 32, (Attention(4, 8),)))


def test_rows_need_an_order_of_ids() -> None:
    elastic = ElasticEncoder(made("post", "classification"))
    with pytest.raises(UsageError, match="give ElasticEncoder a vocabulary"):
        elastic.extract(elastic.architecture.operators, Trunk(rows=8))
    with pytest.raises(UsageError, match="not of a vocabulary"):
        Vocabulary.counted(np.ones(4), unknown=4)

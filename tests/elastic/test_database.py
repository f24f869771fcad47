"""Second moments, the order by elimination, and the database of refitted weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploy.architecture import Architecture, Attention, FeedForward
from deploy.encoder import Encoder
from devices.errors import UsageError
from elastic.elastic_encoder import ElasticEncoder
from elastic.reconstruction.database import Database, eliminated
from elastic.reconstruction.moments import second_moments
from elastic.search.divergence import Divergence
from elastic.search.each_text import EachText
from elastic.search.sensitivity import anchors, module_errors
from elastic.search.texts import Texts
from elastic.space import Chain, SearchSpace, resized, size_of
from elastic.tensors import tensors


@pytest.fixture
def texts():
    """Many more tokens than a feed-forward has units."""
    ids = np.random.default_rng(0).integers(0, 40, (100, 12))
    return [{"input_ids": ids, "attention_mask": 0 * ids + 1, "token_type_ids": 0 * ids}]


def ffn_inputs(encoder: Encoder, batches, position: int) -> np.ndarray:
    """What the second linear layer of the feed-forward at ``position`` reads of all real tokens."""
    rows = []
    for batch in batches:
        given = tensors(batch, encoder)
        caught: list[torch.Tensor] = []
        hook = encoder.operators[position].down.register_forward_pre_hook(
            lambda _m, inputs, caught=caught: caught.append(inputs[0])
        )
        with torch.inference_mode():
            encoder(**given)
        hook.remove()
        rows.append(caught[0][given["attention_mask"].bool()])
    return torch.cat(rows).double().numpy()


def test_moments_are_of_real_tokens(encoder, batches) -> None:
    found = second_moments(encoder, batches)
    units = ffn_inputs(encoder, batches, 1)
    joined = np.column_stack([units, np.ones(len(units))])
    np.testing.assert_allclose(found[1].gram, joined.T @ joined / len(units), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(
        found[1].covariance, np.cov(units.T, bias=True), rtol=1e-4, atol=1e-8
    )
    assert [m.gram.shape for m in found] == [(33, 33), (49, 49)] * 2
    assert all(m.curvature.shape == (32, 32) for m in found)
    changed = [
        {**b, "input_ids": np.where(b["attention_mask"], b["input_ids"], 5)} for b in batches
    ]
    for first, second in zip(found, second_moments(encoder, changed), strict=True):
        np.testing.assert_allclose(first.gram, second.gram, rtol=1e-4, atol=1e-6)


def test_of_the_last_feed_forward_the_first_token_counts(encoder, batches) -> None:
    rows = sum(len(batch["input_ids"]) for batch in batches)
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    assert second_moments(encoder, batches)[3].gram[-1, -1] == pytest.approx(rows / tokens)


def test_no_batches_are_refused(encoder) -> None:
    with pytest.raises(UsageError, match="at least one batch"):
        second_moments(encoder, [])


def test_of_twins_one_is_kept_and_one_goes(make_encoder, texts) -> None:
    encoder = make_encoder()
    layer = encoder.operators[1]
    with torch.no_grad():
        layer.up.weight[7], layer.up.bias[7] = layer.up.weight[3], layer.up.bias[3]
        layer.down.weight[:, [3, 7]] *= 3  # so that neither goes for its own sake
        twin = layer.up.bias[3] = layer.up.bias[7] = 0.777
    elastic, _ = eliminated(encoder, texts)
    places = (elastic.dense.operators[1].up.bias == twin).nonzero().flatten().tolist()
    assert places[0] < 24 < 40 < places[1]


def test_what_is_eliminated_keeps_the_function(encoder, batches) -> None:
    elastic, _ = eliminated(encoder, batches)
    inputs = tensors(batches[0], encoder)
    with torch.inference_mode():
        torch.testing.assert_close(elastic(**inputs), encoder(**inputs), atol=1e-5, rtol=0)


def test_refitted_weights_are_the_best_on_what_is_kept(encoder, batches) -> None:
    elastic = ElasticEncoder(encoder)
    database = Database(elastic, second_moments(elastic.dense, batches))
    linear = elastic.dense.operators[1].down
    before = linear.weight.detach().clone()
    units = ffn_inputs(encoder, batches, 1)
    wanted = units @ before.double().numpy().T
    kept = np.column_stack([units[:, :20], np.ones(len(units))])
    best, *_ = np.linalg.lstsq(kept, wanted, rcond=None)
    with database.fitted(chain_with(encoder, 1, FeedForward(20))), torch.no_grad():
        found = units[:, :20] @ linear.weight[:, :20].double().numpy().T
        shift = (linear.bias - encoder.operators[1].down.bias).double().numpy()
    assert torch.equal(linear.weight, before)
    loss = np.square(found + shift - wanted).sum()
    assert loss <= 1.05 * np.square(kept @ best - wanted).sum() + 1e-3 * np.square(wanted).sum()


def chain_with(encoder: Encoder, position: int, operator: Attention | FeedForward) -> Chain:
    chain = list(encoder.architecture.operators)
    chain[position] = operator
    return tuple(chain)


def test_of_smaller_heads_the_first_dimensions_are_refitted(encoder, batches) -> None:
    elastic = ElasticEncoder(encoder)
    database = Database(elastic, second_moments(elastic.dense, batches))
    linear = elastic.dense.operators[0].output
    before = linear.weight.detach().clone()
    with database.fitted(chain_with(encoder, 0, Attention(2, 5))):
        changed = (linear.weight != before).any(0).nonzero().flatten().tolist()
    assert changed == [*range(5), *range(8, 13)]


def test_errors_are_those_of_the_weighted_least_squares(encoder, batches) -> None:
    elastic = ElasticEncoder(encoder)
    moments = second_moments(elastic.dense, batches)
    database = Database(elastic, moments)
    units = ffn_inputs(encoder, batches, 1)
    linear = elastic.dense.operators[1].down
    wanted = units @ linear.weight.detach().double().numpy().T
    kept = np.column_stack([units[:, :20], np.ones(len(units))])
    best, *_ = np.linalg.lstsq(kept, wanted, rcond=None)
    apart = wanted - kept @ best
    expected = 0.5 * np.sum(moments[1].curvature * (apart.T @ apart)) / len(units)
    found = database.errors(1, [FeedForward(48), FeedForward(20)])
    assert found[0] == pytest.approx(0.0, abs=0.01 * expected)
    assert found[1] == pytest.approx(expected, rel=0.1)


def test_errors_along_the_curve_are_near_those_measured(encoder, texts) -> None:
    elastic, database = eliminated(encoder, texts)
    space = SearchSpace.around(encoder.architecture, width_step=4, head_sizes=(4,))
    found = module_errors(elastic, space, Texts(elastic.dense, texts), database)
    for position, some in enumerate(space.choices):
        for level, operator in enumerate(some):
            chain = list(encoder.architecture.operators)
            chain[position] = operator
            error = Divergence(EachText(elastic, Texts(elastic.dense, texts), database))(
                tuple(chain)
            )
            if level in anchors(some):
                assert found[position][level] >= 0.999 * error
            assert 0.2 * error <= found[position][level] + 1e-4


def test_refitted_modules_err_less(encoder, batches) -> None:
    elastic, database = eliminated(encoder, batches)
    texts = Texts(encoder, batches)
    for position in range(4):
        dense = encoder.architecture.operators[position]
        chain = chain_with(encoder, position, resized(dense, size_of(dense) // 2))
        assert Divergence(EachText(elastic, texts, database))(chain) < Divergence(
            EachText(elastic, texts)
        )(chain)


def test_weights_that_are_no_longer_remembered_are_refitted_again(
    encoder, batches, monkeypatch
) -> None:
    elastic, database = eliminated(encoder, batches)
    chains = [chain_with(encoder, 1, FeedForward(width)) for width in (20, 36, 20)]
    linear = elastic.dense.operators[1].down

    def weights(chain: Chain) -> torch.Tensor:
        with database.fitted(chain):
            return linear.weight.detach().clone()

    monkeypatch.setattr("elastic.reconstruction.database.REMEMBERED", 0)
    first, between, again = map(weights, chains)
    assert torch.equal(first, again)
    assert not torch.equal(first, between)


def test_a_gated_feed_forward_alone_has_an_order(batches) -> None:
    torch.manual_seed(0)
    encoder = Encoder(Architecture(40, 32, (FeedForward(8, gated=True),), positions=16, labels=1))
    elastic, _ = eliminated(encoder, batches)
    assert elastic.architecture == encoder.architecture

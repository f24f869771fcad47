"""Second moments, the order by elimination, and the database of refitted weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploy.architecture import Architecture, Attention, FeedForward
from deploy.encoder import Encoder
from devices.errors import UsageError
from elastic.elastic_encoder import ElasticEncoder
from elastic.reconstruction.database import Database, worth_by_elimination
from elastic.reconstruction.moments import second_moments
from elastic.search.sensitivity import module_errors
from elastic.space import SearchSpace
from elastic.tensors import tensors


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


def test_a_twin_goes_before_what_nothing_replaces(make_encoder) -> None:
    encoder = make_encoder()
    ids = np.random.default_rng(0).integers(0, 40, (100, 12))
    batches = [{"input_ids": ids, "attention_mask": 0 * ids + 1, "token_type_ids": 0 * ids}]
    layer = encoder.operators[1]
    with torch.no_grad():
        layer.up.weight[7], layer.up.bias[7] = layer.up.weight[3], layer.up.bias[3]
        layer.down.weight[:, [3, 7]] *= 3  # so that neither goes for its own sake
    worth = worth_by_elimination(encoder, second_moments(encoder, batches))
    assert [len(row) for row in worth] == [4, 48, 4, 48]
    assert all(sorted(row) == list(range(1, len(row) + 1)) for row in worth)
    assert min(worth[1][[3, 7]]) < 10 < max(worth[1][[3, 7]])


def test_refitted_weights_are_the_best_on_what_is_kept(encoder, batches) -> None:
    elastic = ElasticEncoder(encoder)
    database = Database(elastic, second_moments(elastic.dense, batches))
    linear = elastic.dense.operators[1].down
    before = linear.weight.detach().clone()
    units = ffn_inputs(encoder, batches, 1)
    wanted = units @ before.double().numpy().T
    kept = np.column_stack([units[:, :20], np.ones(len(units))])
    best, *_ = np.linalg.lstsq(kept, wanted, rcond=None)
    with database.fitted(1, FeedForward(20)), torch.no_grad():
        found = units[:, :20] @ linear.weight[:, :20].double().numpy().T
        shift = (linear.bias - encoder.operators[1].down.bias).double().numpy()
    assert torch.equal(linear.weight, before)
    loss = np.square(found + shift - wanted).sum()
    assert loss <= 1.05 * np.square(kept @ best - wanted).sum() + 1e-3 * np.square(wanted).sum()


def test_of_smaller_heads_the_first_dimensions_are_refitted(encoder, batches) -> None:
    elastic = ElasticEncoder(encoder)
    database = Database(elastic, second_moments(elastic.dense, batches))
    linear = elastic.dense.operators[0].output
    before = linear.weight.detach().clone()
    with database.fitted(0, Attention(2, 5)):
        changed = (linear.weight != before).any(0).nonzero().flatten().tolist()
    assert changed == [*range(5), *range(8, 13)]


def test_errors_are_smaller_with_refitted_weights(encoder, batches) -> None:
    many = batches * 2
    elastic = ElasticEncoder(encoder)
    space = SearchSpace.around(encoder.architecture, width_step=8)
    database = Database(elastic, second_moments(elastic.dense, many))
    plain = module_errors(elastic, space, many)
    fitted = module_errors(elastic, space, many, database)
    assert sum(row[1:-1].sum() for row in fitted) < 0.8 * sum(row[1:-1].sum() for row in plain)
    for first, second in zip(plain, fitted, strict=True):
        assert (first[0], first[-1]) == pytest.approx((second[0], second[-1]), rel=1e-3)


def test_operators_of_one_unit_have_moments_too(batches) -> None:
    torch.manual_seed(0)
    encoder = Encoder(Architecture(40, 32, (FeedForward(8, gated=True),), positions=16, labels=1))
    assert [
        len(row) for row in worth_by_elimination(encoder, second_moments(encoder, batches))
    ] == [8]

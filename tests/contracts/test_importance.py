"""What every importance must do, whatever it scores by."""

import numpy as np
import pytest
import torch

from deploy.architecture import (
    Architecture,
    Attention,
    FeedForward,
    Projection,
    SeparableConvolution,
)
from deploy.encoder import Encoder
from devices.errors import UsageError
from elastic.elastic_encoder import ElasticEncoder
from elastic.importance import IMPORTANCES

HEADS, WIDTH = 4, 12


@pytest.fixture(params=list(IMPORTANCES))
def method(request):
    return IMPORTANCES.get(request.param)


def make_encoder(labels: int = 3) -> Encoder:
    torch.manual_seed(0)
    layer = (Attention(HEADS, 8), FeedForward(WIDTH))
    encoder = Encoder(Architecture(40, 32, layer * 2, positions=16, labels=labels))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return encoder


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    return [
        {
            "input_ids": rng.integers(0, 40, (6, length)),
            "attention_mask": np.ones((6, length), dtype=np.int64),
            "token_type_ids": np.zeros((6, length), dtype=np.int64),
        }
        for length in (3, 9)
    ]


@pytest.mark.parametrize("labels", [0, 1, 2, 5])
def test_one_finite_value_of_at_least_zero_per_unit(method, batches, labels) -> None:
    scores = method(make_encoder(labels), batches, seed=0)
    assert [row.shape for row in scores] == [(HEADS,), (WIDTH,)] * 2
    for row in scores:
        assert row.dtype == np.float64
        assert np.isfinite(row).all()
        assert (row >= 0).all()
        assert row.max() > 0


def test_the_same_seed_gives_the_same_scores(method, batches) -> None:
    encoder = make_encoder()
    first, again = (method(encoder, batches, seed=1) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


def test_with_labels_nothing_is_drawn(method, batches) -> None:
    encoder = make_encoder()
    labels = [np.arange(6) % 3 for _ in batches]
    first, other = (method(encoder, batches, seed=seed, labels=labels) for seed in (1, 2))
    assert all((a == b).all() for a, b in zip(first, other, strict=True))
    with pytest.raises(UsageError, match="2 batches came with labels for 1"):
        method(encoder, batches, labels=labels[:1])


def test_the_order_of_the_units_does_not_matter(method, batches) -> None:
    encoder = make_encoder()
    labels = [np.arange(6) % 3 for _ in batches]
    order = [np.random.default_rng(i).permutation(n) for i, n in enumerate([HEADS, WIDTH] * 2)]
    turned = ElasticEncoder(encoder, [-np.argsort(row) for row in order]).dense
    before, after = (method(e, batches, labels=labels) for e in (encoder, turned))
    for row, first, second in zip(order, before, after, strict=True):
        np.testing.assert_allclose(second, first[row], rtol=1e-3, atol=1e-6 * first.max())


def test_an_operator_without_units_has_one_score(method, batches) -> None:
    torch.manual_seed(0)
    chain = (Projection(24), SeparableConvolution(3), FeedForward(WIDTH, gated=True))
    scores = method(Encoder(Architecture(40, 32, chain, positions=16, labels=3)), batches)
    assert [len(row) for row in scores] == [1, 1, WIDTH]
    assert all((row >= 0).all() and np.isfinite(row).all() for row in scores)


def test_units_whose_output_is_not_read_are_worth_nothing(method, batches) -> None:
    encoder = make_encoder()
    with torch.no_grad():
        encoder.operators[2].output.weight[:, 8:16] = 0  # head 1
        encoder.operators[1].down.weight[:, 5] = 0
    scores = method(encoder, batches, seed=0)
    assert scores[2][1] == 0
    assert scores[1][5] == 0
    assert (np.delete(scores[2], 1) > 0).all()
    assert (np.delete(scores[1], 5) > 0).all()


@pytest.mark.parametrize("training", [True, False])
def test_the_encoder_is_left_as_it_was(method, batches, training) -> None:
    encoder = make_encoder().train(training)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    method(encoder, batches, seed=0)
    assert encoder.training is training
    assert all(tensor.equal(before[name]) for name, tensor in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in encoder.modules()
    )


def test_an_encoder_without_sub_layers_has_no_scores(method, batches) -> None:
    assert method(Encoder(Architecture(40, 32, (), positions=16, labels=2)), batches) == []


def test_no_batches_are_refused(method) -> None:
    with pytest.raises(UsageError, match="at least one batch"):
        method(make_encoder(), [])

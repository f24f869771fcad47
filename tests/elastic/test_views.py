"""Sub-networks that compute with views of the dense weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.architecture import Architecture, Attention
from deploy.encoder import Encoder
from elastic.elastic_encoder import ElasticEncoder
from elastic.space import SearchSpace
from elastic.trunk import Trunk
from elastic.views import Views


@pytest.fixture(scope="module")
def elastic(encoder) -> ElasticEncoder:
    rng = np.random.default_rng(0)
    importance = [rng.random(size) for size in (4, 48, 4, 48)]
    return ElasticEncoder(encoder, importance, stream=rng.random(32), turned=True)


@pytest.fixture(scope="module")
def space(encoder) -> SearchSpace:
    return SearchSpace.around(encoder.architecture, width_step=8, head_sizes=(4,))


@pytest.fixture(scope="module")
def inputs(batches) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in batches[0].items()}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
@pytest.mark.parametrize("trunk", [Trunk(), Trunk(hidden=24), Trunk(rank=8)])
def test_a_view_gives_what_the_extracted_network_gives(elastic, space, inputs, trunk, seed) -> None:
    chain = space.chain(space.sample(np.random.default_rng(seed)))
    seen = Views(elastic)(inputs, chain, trunk)
    with torch.inference_mode():
        expected = elastic.extract(chain, trunk)(**inputs)
    torch.testing.assert_close(seen.outputs, expected)
    kept = [operator for operator in chain if operator is not None]
    assert len(seen.states) == 1 + len(kept)
    assert len(seen.projected) == 3 * any(isinstance(operator, Attention) for operator in kept)


def gradients(elastic: ElasticEncoder, outputs: torch.Tensor) -> dict[str, torch.Tensor]:
    elastic.zero_grad(set_to_none=False)
    outputs.square().sum().backward()
    return {name: p.grad.clone() for name, p in elastic.named_parameters() if p.grad is not None}


def test_gradients_are_those_of_the_dense_weights(elastic, space, inputs) -> None:
    chain = space.chain([3, 2, len(space.choices[2]) - 1, 1])  # the third sub-layer is dropped
    views = gradients(elastic, Views(elastic)(inputs, chain).outputs)
    with elastic.active(chain):
        masks = gradients(elastic, elastic(**inputs))
    some = {name for name, gradient in views.items() if gradient.abs().sum() > 0}
    assert 0 < len(some) < len(dict(elastic.named_parameters()))
    for name in some:
        torch.testing.assert_close(views[name], masks[name], atol=1e-4, rtol=1e-4)


def test_dropout_is_that_of_the_elastic_encoder(encoder, inputs) -> None:
    elastic = ElasticEncoder(encoder)
    views, chain = Views(elastic), encoder.architecture.operators
    assert views(inputs, chain).outputs.equal(views(inputs, chain).outputs)
    elastic.train()
    assert not views(inputs, chain).outputs.equal(views(inputs, chain).outputs)


def test_tied_tables_and_rotary_positions() -> None:
    attention = Attention(4, 8, rotary=10_000.0)
    shape = Architecture(
        20, 32, (attention, attention), positions=16, labels=0, head="masked-language-model",
        absolute=False,
    )  # fmt: skip
    torch.manual_seed(0)
    elastic = ElasticEncoder(Encoder(shape).eval())
    inputs = {"input_ids": torch.randint(0, 20, (2, 7))}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    chain = (Attention(2, 8, rotary=10_000.0), None)
    seen = Views(elastic)(inputs, chain)
    torch.testing.assert_close(seen.outputs, elastic.extract(chain)(**inputs))

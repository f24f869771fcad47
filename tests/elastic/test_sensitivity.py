import json

import numpy as np
import pytest
import torch

from elastic.elastic_encoder import ElasticEncoder
from elastic.search.divergence import Divergence
from elastic.search.each_text import EachText
from elastic.search.sensitivity import module_errors
from elastic.search.texts import Texts
from elastic.space import SearchSpace
from elastic.tensors import tensors


@pytest.fixture(params=[3, 1, 0], ids=["classes", "one output", "no head"])
def elastic(request, make_encoder) -> ElasticEncoder:
    return ElasticEncoder(make_encoder(labels=request.param))


@pytest.fixture
def texts(elastic, batches) -> Texts:
    return Texts(elastic.dense, batches)


@pytest.fixture
def space(elastic) -> SearchSpace:
    return SearchSpace.around(elastic.architecture, width_step=16, width_levels=3)


def test_errors_are_those_of_the_extracted_networks(elastic, space, texts, batches) -> None:
    errors = module_errors(elastic, space, texts)
    for position, some in enumerate(space.choices):
        choice = list(space.dense)
        singles = [0.0]
        for level in range(1, len(some)):
            choice[position] = level
            small = elastic.extract(space.chain(choice))
            singles.append(_mean_kl(elastic, small, batches))
        np.testing.assert_allclose(errors[position], np.maximum.accumulate(singles), atol=1e-6)


def test_errors_start_at_zero_and_never_fall(elastic, space, texts) -> None:
    errors = module_errors(elastic, space, texts)
    assert [len(row) for row in errors] == [len(some) for some in space.choices]
    for row in errors:
        assert row[0] == 0
        assert row[-1] > 0
        assert (np.diff(row) >= 0).all()
    json.dumps([row.tolist() for row in errors])


def test_kl_of_a_chain_is_that_of_its_extraction(elastic, space, texts, batches) -> None:
    choice = space.sample(np.random.default_rng(0))
    small = elastic.extract(space.chain(choice))
    expected = _mean_kl(elastic, small, batches)
    assert Divergence(EachText(elastic, texts))(space.chain(choice)) == pytest.approx(
        expected, 1e-6, 1e-6
    )
    assert Divergence(EachText(elastic, texts))(space.chain(space.dense)) == pytest.approx(
        0, abs=1e-12
    )


@pytest.mark.parametrize("memory", [0, 20_000, 2**29])
def test_what_is_shared_with_the_dense_encoder_may_be_kept_or_not(
    elastic, space, texts, batches, memory
) -> None:
    apart = Divergence(EachText(elastic, texts, memory=memory))
    for cut in range(len(space.choices)):
        choice = [int(place >= cut) for place in range(len(space.choices))]
        chain = space.chain(choice)
        expected = _mean_kl(elastic, elastic.extract(chain), batches)
        assert apart(chain) == pytest.approx(expected, 1e-6, 1e-6)
        each = np.concatenate([_kl(elastic, elastic.extract(chain), batch) for batch in batches])
        first = each[np.argsort(np.concatenate(texts.places))][: texts.count(2)]
        assert apart(chain, 2) == pytest.approx(first @ texts.weights(len(first)), rel=1e-6)


def test_more_texts_take_in_those_that_were_looked_at(elastic, space, texts, batches) -> None:
    chain = space.chain(space.sample(np.random.default_rng(0)))
    expected = {every: Divergence(EachText(elastic, texts))(chain, every) for every in (4, 2, 1)}
    apart, looked_at = Divergence(EachText(elastic, texts)), []
    elastic.dense.head.register_forward_hook(lambda *passed: looked_at.append(len(passed[-1])))
    for every in (4, 2, 1, 2):
        assert apart(chain, every) == expected[every]
    assert sum(looked_at) == sum(len(batch["input_ids"]) for batch in batches)


def test_progress_ends_at_the_total(encoder, batches) -> None:
    elastic = ElasticEncoder(encoder)
    space = SearchSpace.around(elastic.architecture, width_step=16, width_levels=2)
    seen: list[tuple[int, int]] = []
    module_errors(elastic, space, Texts(encoder, batches), progress=lambda *step: seen.append(step))
    assert seen == [(done, 4) for done in range(1, 5)]


def _mean_kl(dense, small, batches) -> float:
    """Straight from the definition."""
    return float(np.concatenate([_kl(dense, small, batch) for batch in batches]).mean())


def _kl(dense, small, batch) -> np.ndarray:
    """Of every text [batch]."""
    with torch.inference_mode():
        p, q = (model(**tensors(batch, model)).double() for model in (dense, small))
    if dense.architecture.labels > 1:
        p, q = (torch.distributions.Categorical(logits=some) for some in (p, q))
        return torch.distributions.kl_divergence(p, q).numpy()
    return (((p - q) ** 2).sum(-1) / 2).numpy()


def test_outputs_that_are_not_numbers_diverge_by_none(elastic, space, texts) -> None:
    apart = Divergence(EachText(elastic, texts))
    with torch.no_grad():
        next(elastic.dense.operators[-1].parameters()).fill_(float("nan"))
    choice = (1,) * (len(space.choices) - 1) + (0,)
    assert np.isnan(apart(space.chain(choice)))

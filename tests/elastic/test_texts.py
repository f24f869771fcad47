import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import UsageError
from elastic.outputs import divergence
from elastic.search.texts import Texts, inclusion
from elastic.tensors import tensors


@given(
    st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=40).flatmap(
        lambda shares: st.tuples(st.just(shares), st.integers(1, len(shares)))
    )
)
def test_chances_add_up_to_the_count_and_keep_the_order_of_the_shares(drawn) -> None:
    shares, count = np.array(drawn[0]) / sum(drawn[0]), drawn[1]
    chances = inclusion(shares, count)
    assert chances.sum() == pytest.approx(count)
    assert (chances > 0).all()
    assert (chances <= 1 + 1e-12).all()
    assert (np.diff(chances[np.argsort(shares)]) >= -1e-12).all()
    below = chances < 1
    if below.any():  # in proportion
        np.testing.assert_allclose(np.ptp(chances[below] / shares[below]), 0, atol=1e-6 * count)


@pytest.fixture(scope="module")
def drawn(make_encoder, make_batches) -> tuple[np.ndarray, list[Texts]]:
    """What 64 texts are apart, and these in the orders of many seeds."""
    dense, batches = _unsure(make_encoder(), make_batches(2, 32))
    return _apart(dense, batches), [Texts(dense, batches, seed=seed) for seed in range(400)]


def test_few_texts_tell_the_mean_of_all(drawn) -> None:
    each, orders = drawn
    found = {count: [_mean(texts, each, count) for texts in orders] for count in (8, 64)}
    assert np.mean(found[8]) == pytest.approx(each.mean(), rel=0.05)
    assert np.ptp(found[64]) < 1e-12


def test_texts_that_the_dense_encoder_is_unsure_of_tell_more(drawn) -> None:
    (each, orders), rng = drawn, np.random.default_rng(0)
    found = [_mean(texts, each, 16) for texts in orders]
    plain = [rng.permutation(each)[:16].mean() for _ in orders]
    assert np.std(found) < 0.7 * np.std(plain)


def test_numbers_are_looked_at_alike(make_encoder, batches) -> None:
    texts = Texts(make_encoder(labels=1), batches)
    whole = sum(len(batch["input_ids"]) for batch in batches)
    np.testing.assert_allclose(texts.weights(5), 1 / 5)
    assert sorted(np.concatenate(texts.places)) == list(range(whole))


def test_no_batches_are_refused(encoder) -> None:
    with pytest.raises(UsageError, match="at least one batch"):
        Texts(encoder, [])


def _unsure(dense, batches):
    """The encoder with most of its answers clear, as training makes them."""
    with torch.no_grad():
        dense.head.classifier.weight.mul_(6.0)
    return dense, batches


def _apart(dense, batches) -> np.ndarray:
    """KL of every text where the answers are blurred."""
    found = []
    with torch.inference_mode():
        for batch in batches:
            outputs = dense(**tensors(batch, dense)).double()
            real = torch.tensor(batch["attention_mask"])
            found.append(
                divergence(
                    dense.architecture, outputs, outputs.roll(1, 0) * 0.1 + outputs * 0.9, real
                )
            )
    return torch.cat(found).numpy()


def _mean(texts: Texts, each: np.ndarray, count: int) -> float:
    first = each[np.argsort(np.concatenate(texts.places))][:count]
    return float(first @ texts.weights(count))

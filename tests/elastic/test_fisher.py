import numpy as np
import pytest
import torch

from elastic.elastic_encoder import ElasticEncoder
from elastic.importance.fisher import fisher
from elastic.masks import scaled
from elastic.outputs import divergence
from elastic.tensors import tensors


def exact_diagonal(encoder, batch, position: int, units: int) -> np.ndarray:
    """½ E_y[g²] by brute force: every example alone, every label, gradients of the mask."""
    rows = tensors(batch, encoder)
    total = np.zeros(units)
    for row in range(len(rows["input_ids"])):
        one = {name: tensor[row : row + 1] for name, tensor in rows.items()}
        mask = torch.ones(units, requires_grad=True)
        with scaled(encoder.operators[position], mask):
            outputs = encoder(**one)[0]
        if encoder.architecture.labels > 1:
            log = outputs.log_softmax(-1)
            weights = log.exp().detach()
        else:
            log, weights = outputs, torch.ones_like(outputs)
        for value, weight in zip(log, weights, strict=True):
            (gradient,) = torch.autograd.grad(value, mask, retain_graph=True)
            total += 0.5 * float(weight) * gradient.double().numpy() ** 2
    return total / len(rows["input_ids"])


@pytest.mark.parametrize("labels", [3, 0])
def test_draws_average_to_the_exact_fisher(make_encoder, batches, labels) -> None:
    encoder, batch = make_encoder(labels), batches[0]
    repeated = {name: np.tile(array, (400, 1)) for name, array in batch.items()}
    scores = fisher(encoder, [repeated], seed=0)
    exact = exact_diagonal(encoder, batch, 2, 4)
    np.testing.assert_allclose(scores[2], exact, rtol=0.15)


def test_it_is_the_curvature_of_the_kl(make_encoder, batches) -> None:
    encoder, batch = make_encoder(3), batches[0]
    exact, step = exact_diagonal(encoder, batch, 2, 4), 0.01
    inputs = tensors(batch, encoder)
    with torch.inference_mode():
        reference = encoder(**inputs).double()
        for unit in range(4):
            mask = torch.ones(4)
            mask[unit] -= step
            with scaled(encoder.operators[2], mask):
                nudged = encoder(**inputs).double()
            found = (
                float(
                    divergence(
                        encoder.architecture, reference, nudged, inputs["attention_mask"]
                    ).mean()
                )
                / step**2
            )
            assert found == pytest.approx(exact[unit], rel=0.1)


def test_examples_count_one_by_one_however_they_are_batched(make_encoder, batches) -> None:
    encoder = make_encoder(1)  # one output: the random sign falls out of the square
    together = fisher(encoder, batches)
    alone = fisher(
        encoder,
        [
            {name: array[row : row + 1] for name, array in batch.items()}
            for batch in batches
            for row in range(len(batch["input_ids"]))
        ],
    )
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-9)


def test_keeping_the_important_neurons_hurts_less_than_the_unimportant(encoder, batches) -> None:
    from elastic.search.divergence import Divergence
    from elastic.search.each_text import EachText
    from elastic.search.texts import Texts

    scores = fisher(encoder, batches)
    half = list(encoder.architecture.operators)
    half[3] = type(half[3])(24, half[3].activation)
    texts = Texts(encoder, batches)
    best = Divergence(EachText(ElasticEncoder(encoder, scores), texts))(tuple(half))
    worst = Divergence(EachText(ElasticEncoder(encoder, [-row for row in scores]), texts))(
        tuple(half)
    )
    assert best < 0.5 * worst

"""What outputs mean as distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploy.architecture import OUTPUTS, Architecture, Attention, FeedForward
from deploy.encoder import Encoder
from deploy.kinds import IGNORED
from elastic.importance.fisher import fisher
from elastic.masks import scaled
from elastic.outputs import choices, divergence, draw, has_classes, log_likelihood, loss, losses

LABELS = {
    "embedding": 0, "masked-language-model": 0, "regression": 1, "question-answering": 2,
}  # fmt: skip


def described(output: str) -> Architecture:
    chain = (Attention(2, 8), FeedForward(12))
    return Architecture(20, 16, chain, positions=12, labels=LABELS.get(output, 3), head=output)


def outputs_of(architecture: Architecture, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random outputs for texts of 5 and 3 tokens, and their mask."""
    torch.manual_seed(seed)
    width = architecture.labels or 20
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    shape = (2, 5, width) if architecture.per_token else (2, width)
    return torch.randn(shape, dtype=torch.float64), mask


@pytest.mark.parametrize("output", OUTPUTS)
def test_divergence_is_zero_to_itself_and_grows(output: str) -> None:
    a = described(output)
    (one, mask), (two, _) = outputs_of(a, 0), outputs_of(a, 1)
    assert divergence(a, one, one, mask).tolist() == [0.0, 0.0]
    near, far = divergence(a, one, one + 0.1 * two, mask), divergence(a, one, one + two, mask)
    assert (near > 0).all()
    assert (near < far).all()


@pytest.mark.parametrize(
    "output", ["token-classification", "question-answering", "masked-language-model"]
)
def test_padding_says_nothing(output: str) -> None:
    a = described(output)
    (one, mask), (two, _) = outputs_of(a, 0), outputs_of(a, 1)
    other = two.clone()
    other[1, 3:] = 99.0
    assert torch.equal(divergence(a, one, two, mask), divergence(a, one, other, mask))
    labels = torch.zeros(2, 2 if output == "question-answering" else 5, dtype=torch.int64)
    if output != "question-answering":
        labels[mask == 0] = IGNORED
    assert torch.equal(loss(a, two, mask, labels), loss(a, other, mask, labels))


def sure_of(output: str, labels: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Outputs that leave no doubt about the labels."""
    sharp = torch.zeros_like(like)
    match output:
        case "multi-label":
            return 1e3 * (2 * labels - 1).to(like)
        case "question-answering":
            return sharp.scatter_(1, labels[:, None], 1e3)
        case _:
            return sharp.scatter_(-1, labels[..., None], 1e3)


@pytest.mark.parametrize(
    "output", [some for some in OUTPUTS if some not in ("embedding", "regression")]
)
def test_labels_are_a_reference_without_doubt(output: str) -> None:
    a = described(output)
    found, mask = outputs_of(a, 0)
    shape = {
        "classification": (2,), "multi-label": (2, 3), "question-answering": (2, 2),
    }.get(output, (2, 5))  # fmt: skip
    labels = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(1))
    sure, scales = sure_of(output, labels, found), (1.0, 0.5)
    for scale, some in zip(scales, losses(a, found, mask, labels, scales), strict=True):
        expected = divergence(a, sure, scale * found, mask)
        assert some.tolist() == pytest.approx(expected.tolist())
    if output in ("token-classification", "masked-language-model"):
        unlabelled = torch.full_like(labels, IGNORED)
        assert losses(a, found, mask, unlabelled, scales).tolist() == [[0.0, 0.0]] * 2


def test_known_values() -> None:
    labels = described("multi-label")
    outputs, mask = torch.tensor([[0.0, 2.0, -1.0]]), torch.ones(1, 4)
    wanted = torch.tensor([[1, 1, 0]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(outputs, wanted.float())
    assert float(loss(labels, outputs, mask, wanted)) == pytest.approx(float(expected))
    answers = described("question-answering")
    scores = torch.tensor([[[0.0, 1.0], [2.0, 0.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0]])
    start = torch.tensor([0.0, 2.0]).log_softmax(0)[1]
    end = torch.tensor([1.0, 0.0]).log_softmax(0)[0]
    found = loss(answers, scores, mask, torch.tensor([[1, 0]]))
    assert float(found) == pytest.approx(float(-(start + end) / 2))
    number = described("regression")
    assert float(loss(number, torch.tensor([[1.0], [3.0]]), mask, torch.tensor([1.0, 1.0]))) == 2.0


@pytest.mark.parametrize("output", [o for o in OUTPUTS if has_classes(described(o))])
def test_what_is_drawn_is_of_the_distribution(output: str) -> None:
    a = described(output)
    one, mask = outputs_of(a, 0)
    many = one[:1].repeat(4000, *[1] * (one.ndim - 1))
    mask = mask[:1].repeat(4000, 1)
    drawn = draw(a, many, mask, torch.Generator().manual_seed(0))
    logits, weights = choices(a, many, mask)
    shares = np.bincount(drawn[:, 0].numpy(), minlength=logits.shape[-1]) / 4000
    np.testing.assert_allclose(shares, logits[0, 0].softmax(-1).numpy(), atol=0.04)
    assert drawn.shape == weights.shape
    total = log_likelihood(a, many, mask, torch.full_like(drawn, IGNORED))
    assert float(total) == 0.0


@pytest.mark.parametrize("output", ["multi-label", "token-classification", "question-answering"])
def test_the_fisher_of_a_mask_is_the_curvature_of_the_divergence(output: str) -> None:
    a = described(output)
    torch.manual_seed(0)
    encoder = Encoder(a).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            parameter.normal_(float(name.endswith("norm.weight")), 0.3)
    rng = np.random.default_rng(0)
    mask = np.array([[1] * 6, [1] * 4 + [0] * 2])
    batch = {
        "input_ids": rng.integers(0, 20, (2, 6)),
        "attention_mask": mask,
        "token_type_ids": np.zeros((2, 6), dtype=np.int64),
    }
    repeated = {name: np.tile(array, (1000, 1)) for name, array in batch.items()}
    scores = fisher(encoder, [repeated], seed=0)[0]
    inputs = {name: torch.from_numpy(array) for name, array in batch.items()}
    step = 0.01
    with torch.inference_mode():
        reference = encoder(**inputs).double()
        for unit in range(2):
            units = torch.ones(2)
            units[unit] -= step
            with scaled(encoder.operators[0], units):
                nudged = encoder(**inputs).double()
            curved = divergence(a, reference, nudged, inputs["attention_mask"]).mean() / step**2
            assert float(curved) == pytest.approx(scores[unit], rel=0.2)

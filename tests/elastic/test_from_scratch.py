"""Models with new weights."""

from __future__ import annotations

import pytest
import torch

from deploy.architecture import uniform
from devices.errors import UsageError
from elastic.recipes.from_scratch import AMPLITUDE, from_scratch, sinusoids


@pytest.mark.parametrize("width", [16, 15])
def test_what_two_positions_have_in_common_depends_on_their_distance(width: int) -> None:
    rows = sinusoids(30, width)
    assert rows.shape == (30, width)
    assert rows[0, :4].tolist() == [0.0, 1.0, 0.0, 1.0]
    if width % 2 == 0:
        alike = rows @ rows.T
        for distance in range(5):
            values = alike.diagonal(distance)
            assert torch.allclose(values, values[:1].expand_as(values), atol=1e-4)
        assert alike[0, 0] > alike[0, 1] > alike[0, 2]


@pytest.mark.parametrize("output", ["classification", "masked-language-model"])
def test_positions_of_a_language_model_begin_as_sinusoids(output: str) -> None:
    shape = uniform(1, 16, 2, 32, vocabulary=40, positions=12)
    torch.manual_seed(0)
    embeddings = from_scratch(shape, output, {}).bert.embeddings
    begun = embeddings.position_embeddings.weight.equal(AMPLITUDE * sinusoids(12, 16))
    assert begun == (output == "masked-language-model")
    assert embeddings.word_embeddings.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_other_shapes_are_refused() -> None:
    shape = uniform(2, 16, 2, 32, vocabulary=40)
    cut = shape.with_operators([*shape.operators[:2], shape.operators[0]])
    with pytest.raises(UsageError, match="BERT shape"):
        from_scratch(cut, "classification", {})

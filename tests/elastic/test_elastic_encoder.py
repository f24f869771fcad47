import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.architecture import Attention, FeedForward
from deploy.costs import parameters
from deploy.encoder import Encoder
from devices.errors import UsageError
from elastic.elastic_encoder import ElasticEncoder
from elastic.space import SearchSpace, size_of
from elastic.tensors import tensors

seeds = st.integers(0, 2**32 - 1)


def logits(model, batch) -> torch.Tensor:
    with torch.inference_mode():
        return model(**tensors(batch, model))


def random_importance(encoder: Encoder, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.random(size_of(operator)) for operator in encoder.architecture.operators]


@pytest.fixture(scope="module")
def elastic(encoder) -> ElasticEncoder:
    return ElasticEncoder(encoder, random_importance(encoder, 0))


@pytest.fixture(scope="module")
def space(encoder) -> SearchSpace:
    return SearchSpace.around(encoder.architecture, width_step=1)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_reordering_keeps_the_function(encoder, batches, seed) -> None:
    elastic = ElasticEncoder(encoder, random_importance(encoder, seed))
    for batch in batches:
        torch.testing.assert_close(
            logits(elastic, batch), logits(encoder, batch), atol=1e-5, rtol=0
        )


def test_units_stand_in_descending_importance_and_the_encoder_is_untouched(encoder) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    importance = random_importance(encoder, 1)
    elastic = ElasticEncoder(encoder, importance)
    order = torch.from_numpy(np.argsort(-importance[1]))
    assert elastic.dense.operators[1].up.bias.equal(encoder.operators[1].up.bias[order])
    best_head = int(np.argmax(importance[0]))
    moved = elastic.dense.operators[0].value.weight[:8]
    assert moved.equal(encoder.operators[0].value.weight[8 * best_head : 8 * best_head + 8])
    assert all(tensor.equal(before[name]) for name, tensor in encoder.state_dict().items())


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_masked_equals_extracted(elastic, space, batches, seed) -> None:
    chain = space.chain(space.sample(np.random.default_rng(seed)))
    small = elastic.extract(chain)
    assert small.architecture == space.base.with_operators(chain)
    assert sum(p.numel() for p in small.parameters()) == parameters(small.architecture)
    for batch in batches:
        with elastic.active(chain):
            masked = logits(elastic, batch)
        torch.testing.assert_close(masked, logits(small, batch), atol=1e-5, rtol=0)


def test_masks_are_gone_after_the_block(elastic, space, batches) -> None:
    dense = logits(elastic, batches[0])
    chain = space.chain((1, 1, len(space.choices[2]) - 1, 0))
    with elastic.active(chain):
        assert not logits(elastic, batches[0]).equal(dense)
    assert logits(elastic, batches[0]).equal(dense)
    with pytest.raises(KeyError), elastic.active(chain):
        raise KeyError
    assert logits(elastic, batches[0]).equal(dense)


def test_everything_dropped_is_embedding_and_head(elastic, batches) -> None:
    small = elastic.extract((None,) * 4)
    assert small.architecture.operators == ()
    assert logits(small, batches[0]).isfinite().all()


def test_extracted_weights_are_its_own(elastic, space, batches) -> None:
    before = logits(elastic, batches[0])
    small = elastic.extract(space.chain(space.dense))
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    assert logits(elastic, batches[0]).equal(before)


def test_a_fresh_process_reloads_the_extracted_network(elastic, space, batches, tmp_path) -> None:
    chain = space.chain((1, 5, len(space.choices[2]) - 1, 7))
    small = elastic.extract(chain)
    small.save_pretrained(tmp_path / "small")
    np.savez(tmp_path / "batch.npz", **batches[0])
    code = (
        "import sys, numpy, torch\n"
        "from pathlib import Path\n"
        "from deploy.encoder import Encoder\n"
        "here = Path(sys.argv[1])\n"
        "batch = {k: torch.from_numpy(v) for k, v in numpy.load(here / 'batch.npz').items()}\n"
        "with torch.inference_mode():\n"
        "    logits = Encoder.from_pretrained(here / 'small')(**batch)\n"
        "numpy.save(here / 'logits.npy', logits.numpy())\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=root)
    again = np.load(tmp_path / "logits.npy")
    np.testing.assert_allclose(again, logits(small, batches[0]).numpy(), atol=1e-6)


def test_label_names_go_with_the_extracted_network(encoder) -> None:
    named = Encoder(encoder.architecture, ("x", "y", "z"))
    assert ElasticEncoder(named).extract(encoder.architecture.operators).label_names == (
        "x",
        "y",
        "z",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        (Attention(5, 8), None, None, None),
        (Attention(2, 16), None, None, None),
        (FeedForward(8), None, None, None),
        (None, FeedForward(8, "relu"), None, None),
    ],
)
def test_a_chain_of_another_encoder_is_refused(elastic, wrong) -> None:
    with pytest.raises(UsageError, match=r"chain|part"):
        elastic.extract(wrong)
    with pytest.raises(UsageError, match=r"chain|part"), elastic.active(wrong):
        pass


def test_importance_of_another_encoder_is_refused(encoder) -> None:
    with pytest.raises(UsageError, match="one value per unit"):
        ElasticEncoder(encoder, [np.ones(3)])

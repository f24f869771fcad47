"""Encoders that normalise before each sub-layer, turn positions, and look through windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.architecture import Architecture, Attention, FeedForward
from deploy.costs import parameters
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.parity import check_parity
from devices.device import open_device
from devices.errors import UsageError
from devices.target import Target
from elastic.elastic_encoder import ElasticEncoder
from elastic.reconstruction.least_squares import reconstruct
from elastic.search.divergence import Divergence
from elastic.search.each_text import EachText
from elastic.search.sensitivity import module_errors
from elastic.search.texts import Texts
from elastic.space import SearchSpace

CHAIN = (
    Attention(4, 4, rotary=160_000.0, normed=False),
    FeedForward(24, gated=True),
    Attention(4, 4, window=2, rotary=10_000.0),
    FeedForward(24, gated=True),
)
MODERN = Architecture(
    30, 16, CHAIN, positions=24, token_types=1, labels=3, pooler="gelu",
    norm="pre", absolute=False, pooling="mean", normed_head=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    made = Encoder(MODERN)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.normal_(float(name.endswith("norm.weight")), 0.3)
    return made.eval()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the runtimes start from one graph."""
    return tmp_path_factory.mktemp("exports")


def batches() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    mask = (np.arange(12) < rng.integers(3, 13, 16)[:, None]).astype(np.int64)
    ids = rng.integers(0, 30, (16, 12))
    return [{"input_ids": ids, "attention_mask": mask, "token_type_ids": 0 * ids}]


def answer(model: torch.nn.Module, **changes: np.ndarray) -> torch.Tensor:
    [batch] = batches()
    with torch.inference_mode():
        logits: torch.Tensor = model(
            **{k: torch.from_numpy(v) for k, v in (batch | changes).items()}
        )
    return logits


def test_its_description_and_weights_come_back(encoder: Encoder, tmp_path: Path) -> None:
    assert Architecture.from_json(MODERN.to_json()) == MODERN
    assert parameters(MODERN) == sum(p.numel() for p in encoder.parameters())
    encoder.save_pretrained(tmp_path)
    assert torch.equal(answer(Encoder.from_pretrained(tmp_path)), answer(encoder))
    assert str(MODERN) == "H16[A4 G24 A4w2 G24]"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
def test_exported_it_answers_alike(encoder: Encoder, runtime: str, root: Path) -> None:
    exported = export_variant(encoder, runtime, "fp32", root)
    target = Target("local", runtime, "fp32", 1)
    check_parity(encoder, open_device("local"), target, exported).require()


def test_padding_says_nothing(encoder: Encoder) -> None:
    [batch] = batches()
    other = np.where(batch["attention_mask"] == 1, batch["input_ids"], 7)
    torch.testing.assert_close(answer(encoder, input_ids=other), answer(encoder))


def test_order_and_distance_matter(encoder: Encoder) -> None:
    [batch] = batches()
    turned = batch["input_ids"].copy()
    turned[:, :3] = turned[:, 2::-1]
    assert not torch.allclose(answer(encoder, input_ids=turned), answer(encoder), atol=1e-3)


def test_what_is_cut_is_what_is_masked_and_can_be_refitted(encoder: Encoder) -> None:
    elastic = ElasticEncoder(encoder)
    space = SearchSpace.around(MODERN, width_step=8)
    errors = module_errors(elastic, space, Texts(elastic.dense, batches()))
    for position, values in enumerate(errors):
        choice = [0] * len(errors)
        choice[position] = 1
        assert Divergence(EachText(elastic, Texts(elastic.dense, batches())))(
            space.chain(choice)
        ) == pytest.approx(values[1], rel=1e-4)
    chain = space.chain([1, 2, 2, 1])
    small = elastic.extract(chain)
    with elastic.active(chain):
        torch.testing.assert_close(answer(small), answer(elastic), atol=1e-5, rtol=0)
    assert parameters(small.architecture) == sum(p.numel() for p in small.parameters())
    before = (answer(small) - answer(encoder)).square().mean()
    reconstruct(encoder, small, chain, batches())
    assert (answer(small) - answer(encoder)).square().mean() < 0.5 * before


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(UsageError, match="Norm 'middle'"):
        Architecture(30, 16, (), norm="middle")

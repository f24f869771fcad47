"""Layers that share their weights, as ALBERT's do."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from deploy.architecture import Architecture, Attention, FeedForward, Projection
from deploy.costs import parameters
from deploy.encoder import WEIGHTS, Encoder
from deploy.exporters import export_variant
from devices.errors import UsageError
from elastic.elastic_encoder import ElasticEncoder
from elastic.reconstruction.least_squares import reconstruct

LAYER = (Attention(2, 8), FeedForward(24))
SHARED = Architecture(
    24, 8, (Projection(16), *LAYER * 3), positions=16, labels=2, shares=(0, 1, 2, 1, 2, 1, 2)
)


def batch() -> dict[str, np.ndarray]:
    ids = np.random.default_rng(0).integers(0, 24, (6, 9))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": 0 * ids}


def inputs() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in batch().items()}


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    made = Encoder(SHARED)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.normal_(float(name.endswith("norm.weight")), 0.3)
    return made.eval()


def answer(encoder: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = encoder(**inputs())
    return logits


def test_shared_weights_are_counted_kept_and_loaded_once(encoder: Encoder, tmp_path: Path) -> None:
    assert parameters(SHARED) == sum(p.numel() for p in encoder.parameters())
    alone = Architecture.from_json(SHARED.to_json() | {"shares": []})
    assert parameters(alone) > parameters(SHARED)
    encoder.save_pretrained(tmp_path / "a")
    Encoder(alone).save_pretrained(tmp_path / "b")
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in "ab"]
    assert sizes[0] < 0.6 * sizes[1]
    again = Encoder.from_pretrained(tmp_path / "a")
    assert again.architecture == SHARED
    assert again.operators[5].query.weight is again.operators[1].query.weight  # type: ignore[union-attr]
    assert torch.equal(answer(again), answer(encoder))


def test_layers_left_uncut_stay_shared(encoder: Encoder) -> None:
    importance = [
        np.random.default_rng(place).random(size)
        for place, size in enumerate((1, 2, 24, 2, 24, 2, 24))
    ]
    elastic = ElasticEncoder(encoder, importance)
    torch.testing.assert_close(answer(elastic), answer(encoder))
    cut = (*SHARED.operators[:2], FeedForward(16), Attention(1, 8), None, *SHARED.operators[5:])
    small = elastic.extract(cut)
    assert small.architecture.shares == (0, 1, 2, 3, 1, 5)
    with elastic.active(cut):
        torch.testing.assert_close(answer(small), answer(elastic), atol=1e-5, rtol=0)
    assert parameters(small.architecture) == sum(p.numel() for p in small.parameters())
    before = small.operators[4].output.weight.clone()  # type: ignore[union-attr]
    reconstruct(encoder, small, cut, [batch()])
    assert small.operators[4].output.weight is small.operators[1].output.weight  # type: ignore[union-attr]
    assert torch.equal(small.operators[4].output.weight, before)  # type: ignore[union-attr]


def test_an_exported_graph_holds_shared_weights_once(encoder: Encoder, tmp_path: Path) -> None:
    exported = export_variant(encoder, "onnxruntime", "fp32", tmp_path)
    graph = onnx.load(exported.path, load_external_data=False).graph
    matrices = [prod(weight.dims) for weight in graph.initializer if len(weight.dims) > 1]
    assert sum(matrices) == sum(p.numel() for p in encoder.parameters() if p.ndim > 1)
    session = onnxruntime.InferenceSession(str(exported.path))
    np.testing.assert_allclose(session.run(None, batch())[0], answer(encoder).numpy(), atol=1e-5)


@pytest.mark.parametrize("shares", [(0, 1), (0, 2, 2, 1, 2, 1, 2), (0, 1, 1, 1, 2, 1, 2)])
def test_shares_that_do_not_fit_are_refused(shares: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="do not fit"):
        Architecture(24, 8, SHARED.operators, positions=16, labels=2, shares=shares)


def test_an_encoder_without_any_is_described_as_before() -> None:
    alone = Architecture(24, 8, LAYER, shares=(0, 1))
    assert alone.shares == ()
    assert not {"shares", "head"} & {*alone.to_json()}

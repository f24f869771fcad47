"""What every family must hold: a checkpoint answers as in transformers, in every shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from deploy.costs import parameters
from elastic.elastic_encoder import ElasticEncoder
from elastic.families import FAMILIES, family_of, load
from elastic.space import SearchSpace

LABELS = {0: "no", 1: "maybe", 2: "yes"}
SMALL: dict[str, dict[str, Any]] = {
    "bert": {
        "hidden_size": 32,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
    },
    "distilbert": {"dim": 32, "n_heads": 4, "hidden_dim": 64, "n_layers": 2},
}
SMALL["roberta"] = SMALL["bert"] | {"pad_token_id": 1, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
SMALL["electra"] = SMALL["bert"] | {"embedding_size": 16}
OTHERS: dict[str, list[dict[str, Any]]] = {
    "bert": [
        {"num_attention_heads": 2, "intermediate_size": 48, "num_hidden_layers": 3},
        {"hidden_act": "relu", "layer_norm_eps": 1e-5, "type_vocab_size": 3},
        {"hidden_act": "gelu_new", "max_position_embeddings": 40},
        {"num_hidden_layers": 1, "num_attention_heads": 8, "hidden_size": 64},
    ],
    "roberta": [{"pad_token_id": 0}, {"hidden_act": "gelu_new", "type_vocab_size": 2}],
    "distilbert": [{"activation": "relu"}, {"sinusoidal_pos_embds": True}],
    "electra": [{"embedding_size": 32}, {"hidden_act": "relu", "layer_norm_eps": 1e-5}],
}
CASES = [(kind, changes) for kind in FAMILIES for changes in ({}, *OTHERS[kind])]


def saved(directory: Path, kind: str, head: str, **changes: Any) -> Any:
    """A model of transformers with random weights that are large enough to show, saved."""
    family = FAMILIES.get(kind)
    settings = {
        "vocab_size": 60, "max_position_embeddings": 24, "id2label": LABELS,
        "label2id": {name: number for number, name in LABELS.items()},
    }  # fmt: skip
    config = transformers.AutoConfig.for_model(kind, **(settings | SMALL[kind] | changes))
    torch.manual_seed(0)
    model = getattr(transformers, getattr(family, head))(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(directory)
    return model


def inputs(model: Any) -> dict[str, torch.Tensor]:
    """Ids, mask and types of three texts, padded on the right as the family's tokenizer pads."""
    generator = torch.Generator().manual_seed(1)
    mask = (torch.arange(11) < torch.tensor([[11], [6], [1]])).long()
    ids = torch.randint(2, 60, (3, 11), generator=generator) * mask
    ids = ids + (model.config.pad_token_id or 0) * (1 - mask)
    types = torch.randint(
        0, getattr(model.config, "type_vocab_size", 1), (3, 11), generator=generator
    )
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def answers(model: Any, given: dict[str, torch.Tensor]) -> Any:
    typed = hasattr(model.config, "type_vocab_size")
    with torch.inference_mode():
        return model(**{k: v for k, v in given.items() if typed or k != "token_type_ids"})


@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_a_classifier_answers_as_in_transformers(
    kind: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    model = saved(tmp_path, kind, "classifier", **changes)
    encoder = load(tmp_path).encoder
    given = inputs(model)
    with torch.inference_mode():
        torch.testing.assert_close(
            encoder(**given), answers(model, given).logits, atol=1e-5, rtol=0
        )
    assert encoder.label_names == ("no", "maybe", "yes")
    assert not encoder.training


@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_without_a_head_it_gives_the_same_states(
    kind: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    model = saved(tmp_path, kind, "bare", **changes)
    encoder = load(tmp_path).encoder
    given = inputs(model)
    kept = given["attention_mask"].bool()
    with torch.inference_mode():
        states = encoder.encode(**given)
        expected = answers(model, given).last_hidden_state
        torch.testing.assert_close(states[kept], expected[kept], atol=1e-5, rtol=0)
        torch.testing.assert_close(encoder(**given), expected[:, 0], atol=1e-5, rtol=0)
    assert encoder.architecture.labels == 0


@pytest.mark.parametrize("kind", ["roberta", "distilbert"])
def test_a_family_without_token_types_does_not_look_at_them(kind: str, tmp_path: Path) -> None:
    given = inputs(saved(tmp_path, kind, "classifier"))
    encoder = load(tmp_path).encoder
    other = {**given, "token_type_ids": torch.ones_like(given["token_type_ids"])}
    with torch.inference_mode():
        assert torch.equal(encoder(**given), encoder(**other))


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_head_of_another_task_is_left_away(kind: str, tmp_path: Path) -> None:
    name = FAMILIES.get(kind).headless[0]
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=60, max_position_embeddings=24, **SMALL[kind]
    )
    getattr(transformers, name)(config).save_pretrained(tmp_path)
    assert load(tmp_path).encoder.architecture.labels == 0


@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_the_configuration_alone_gives_the_architecture(
    kind: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    saved(tmp_path, kind, "classifier", **changes)
    config = json.loads((tmp_path / "config.json").read_text())
    encoder = load(tmp_path).encoder
    assert family_of(config, "it").architecture(config) == encoder.architecture
    assert parameters(encoder.architecture) == sum(p.numel() for p in encoder.parameters())


@pytest.mark.parametrize("kind", FAMILIES)
def test_its_sub_networks_are_those_of_the_masked_model(kind: str, tmp_path: Path) -> None:
    model = saved(tmp_path, kind, "classifier")
    elastic = ElasticEncoder(load(tmp_path).encoder)
    space = SearchSpace.around(elastic.architecture, width_step=16)
    given = inputs(model)
    chain = space.chain([len(some) // 2 for some in space.choices])
    with torch.inference_mode():
        with elastic.active(chain):
            masked = elastic(**given)
        torch.testing.assert_close(elastic.extract(chain)(**given), masked, atol=1e-5, rtol=0)

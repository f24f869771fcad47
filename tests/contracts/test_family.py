"""What every family must hold: a checkpoint answers as in transformers, in every shape."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from deploy.architecture import PER_TOKEN, Architecture, Attention, FeedForward, Operator
from deploy.costs import parameters
from devices.errors import ModelError
from elastic.elastic_encoder import ElasticEncoder
from elastic.families import FAMILIES, family_of, load
from elastic.space import Chain
from elastic.trunk import DENSE, Trunk, Vocabulary

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
SMALL["albert"] = SMALL["electra"] | {"num_hidden_layers": 3}
SMALL["modernbert"] = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "local_attention": 4,
    **dict.fromkeys(("pad_token_id", "bos_token_id", "cls_token_id"), 0),
    **dict.fromkeys(("eos_token_id", "sep_token_id"), 1),
}
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
    "modernbert": [
        {"classifier_pooling": "mean", "global_attn_every_n_layers": 2},
        {"norm_bias": True, "mlp_bias": True, "attention_bias": True, "classifier_bias": True},
        {"local_attention": 128, "hidden_activation": "relu", "num_hidden_layers": 1},
    ],
    "albert": [
        {"embedding_size": 32, "hidden_act": "relu"},
        {"num_hidden_groups": 2, "num_hidden_layers": 4},
        {"num_hidden_layers": 1},
    ],
}
CASES = [(kind, changes) for kind in FAMILIES for changes in ({}, *OTHERS[kind])]
BARE = "bare"
OUTPUTS = ("classification", "token-classification", "masked-language-model")


def saved(directory: Path, kind: str, output: str, **changes: Any) -> Any:
    """A model of transformers with random weights that are large enough to show, saved."""
    family = FAMILIES.get(kind)
    name = family.bare if output == BARE else family.class_for(output)
    settings = {
        "vocab_size": 60, "max_position_embeddings": 24, "id2label": LABELS,
        "label2id": {name: number for number, name in LABELS.items()},
    }  # fmt: skip
    config = transformers.AutoConfig.for_model(kind, **(settings | SMALL[kind] | changes))
    torch.manual_seed(0)
    model = getattr(transformers, name)(config).eval()
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
    model = saved(tmp_path, kind, "classification", **changes)
    encoder = load(tmp_path).encoder
    given = inputs(model)
    with torch.inference_mode():
        torch.testing.assert_close(
            encoder(**given), answers(model, given).logits, atol=1e-5, rtol=0
        )
    assert encoder.label_names == ("no", "maybe", "yes")
    assert not encoder.training


@pytest.mark.parametrize("output", PER_TOKEN)
@pytest.mark.parametrize("kind", list(FAMILIES))
def test_a_head_on_every_token_answers_as_in_transformers(
    kind: str, output: str, tmp_path: Path
) -> None:
    labels = {"id2label": {0: "start", 1: "end"}, "label2id": {"start": 0, "end": 1}}
    changes = labels if output == "question-answering" else {}
    model = saved(tmp_path, kind, output, **changes)
    encoder = load(tmp_path).encoder
    given = inputs(model)
    found = answers(model, given)
    if output == "question-answering":
        expected = torch.stack([found.start_logits, found.end_logits], -1)
    else:
        expected = found.logits
    kept = given["attention_mask"].bool()
    with torch.inference_mode():
        torch.testing.assert_close(encoder(**given)[kept], expected[kept], atol=1e-5, rtol=0)
    assert encoder.architecture.output == output
    config = json.loads((tmp_path / "config.json").read_text())
    assert family_of(config, "it").architecture(config) == encoder.architecture
    assert parameters(encoder.architecture) == sum(p.numel() for p in encoder.parameters())
    encoder.save_pretrained(tmp_path / "own")
    again = load(tmp_path / "own").encoder
    with torch.inference_mode():
        assert torch.equal(again(**given), encoder(**given))


@pytest.mark.parametrize(
    ("problem", "output"),
    [("multi_label_classification", "multi-label"), ("regression", "regression")],
)
def test_what_a_classifier_is_for_is_read_from_its_problem(
    problem: str, output: str, tmp_path: Path
) -> None:
    saved(tmp_path, "bert", "classification", problem_type=problem)
    assert load(tmp_path).encoder.architecture.output == output


def test_a_language_model_that_ends_otherwise_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, "bert", "masked-language-model", tie_word_embeddings=False)
    with pytest.raises(ModelError, match="tie_word_embeddings"):
        load(tmp_path)


@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_without_a_head_it_gives_the_same_states(
    kind: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    model = saved(tmp_path, kind, BARE, **changes)
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
    given = inputs(saved(tmp_path, kind, "classification"))
    encoder = load(tmp_path).encoder
    other = {**given, "token_type_ids": torch.ones_like(given["token_type_ids"])}
    with torch.inference_mode():
        assert torch.equal(encoder(**given), encoder(**other))


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if FAMILIES.get(kind).headless])
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
    saved(tmp_path, kind, "classification", **changes)
    config = json.loads((tmp_path / "config.json").read_text())
    encoder = load(tmp_path).encoder
    assert family_of(config, "it").architecture(config) == encoder.architecture
    assert parameters(encoder.architecture) == sum(p.numel() for p in encoder.parameters())


def smaller(operator: Operator, **sizes: int) -> Operator:
    """``operator`` with those of ``sizes`` that it has."""
    return replace(operator, **{k: v for k, v in sizes.items() if hasattr(operator, k)})


def dimensions(dense: Architecture) -> dict[str, tuple[Chain, Trunk]]:
    """One sub-network per elastic dimension, and one that is cut in all of them."""
    whole = dense.operators

    def dropped(kind: type[Operator]) -> Chain:
        first = next(place for place, op in enumerate(whole) if isinstance(op, kind))
        return tuple(None if place == first else op for place, op in enumerate(whole))

    narrow, trunk = {"heads": 3, "width": 20}, Trunk(hidden=20, rank=7, rows=30)
    turns = any(isinstance(op, Attention) and op.rotary for op in whole)
    found: dict[str, tuple[Chain, Trunk]] = {
        "attention": (dropped(Attention), DENSE),
        "feed-forward": (dropped(FeedForward), DENSE),
        "heads": (tuple(smaller(op, heads=3) for op in whole), DENSE),
        "width": (tuple(smaller(op, width=20) for op in whole), DENSE),
        "hidden": (whole, Trunk(hidden=20)),
        "rank": (whole, Trunk(rank=7)),
        "rows": (whole, Trunk(rows=30)),
    }
    if not turns:
        found["head size"] = (tuple(smaller(op, head_dim=5) for op in whole), DENSE)
        narrow["head_dim"] = 5
    kept = (op and smaller(op, **narrow) for op in dropped(FeedForward))
    return found | {"all": (tuple(kept), trunk)}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kind", list(FAMILIES))
def test_its_sub_networks_are_those_of_the_masked_model(
    kind: str, output: str, tmp_path: Path
) -> None:
    model = saved(tmp_path, kind, output)
    dense, given = load(tmp_path).encoder, inputs(model)
    rng = np.random.default_rng(0)
    vocabulary = Vocabulary.counted(rng.random(60), unknown=5)
    elastic = ElasticEncoder(dense, stream=rng.random(32), vocabulary=vocabulary, turned=True)
    with torch.inference_mode():
        torch.testing.assert_close(elastic(**given), dense(**given), atol=1e-5, rtol=0)
        for name, (chain, trunk) in dimensions(elastic.architecture).items():
            with elastic.active(chain, trunk):
                masked = elastic(**given)
            small = elastic.extract(chain, trunk)
            torch.testing.assert_close(small(**given), masked, atol=1e-5, rtol=0, msg=name)
            count = sum(p.numel() for p in small.parameters())
            assert count == parameters(small.architecture), name
            small.save_pretrained(tmp_path / name)
            again = load(tmp_path / name).encoder
            assert torch.equal(again(**given), small(**given)), name
            assert not torch.equal(masked, dense(**given)), name

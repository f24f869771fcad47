import json

import huggingface_hub.constants
import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)

from deploy.architecture import Attention, FeedForward, uniform
from deploy.encoder import Encoder
from devices.errors import ModelError, UsageError
from elastic.families import load
from elastic.families.bert import architecture_of_config, config_of

SHAPES = {
    "plain": {},
    "wide heads": {"num_attention_heads": 2, "intermediate_size": 48, "num_hidden_layers": 3},
    "relu": {"hidden_act": "relu", "layer_norm_eps": 1e-5, "type_vocab_size": 3},
    "tanh gelu": {"hidden_act": "gelu_new", "max_position_embeddings": 40},
    "one layer": {"num_hidden_layers": 1, "num_attention_heads": 8, "hidden_size": 64},
}
LABELS = {0: "no", 1: "maybe", 2: "yes"}


def make_config(**changes) -> BertConfig:
    shape = {
        "vocab_size": 60,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 20,
        "id2label": LABELS,
        "label2id": {name: i for i, name in LABELS.items()},
    }
    return BertConfig(**(shape | changes))


def make_model(kind, config):
    """Random weights that are large enough for differences to show."""
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def inputs(types: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 60, (3, 11), generator=generator)
    mask = (torch.arange(11) < torch.tensor([[11], [6], [1]])).long()
    return ids, mask, torch.randint(0, types, (3, 11), generator=generator)


@pytest.fixture
def saved(tmp_path):
    make_model(BertForSequenceClassification, make_config()).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("shape", SHAPES)
def test_a_classifier_answers_as_in_transformers(shape, tmp_path) -> None:
    config = make_config(**SHAPES[shape])
    model = make_model(BertForSequenceClassification, config)
    model.save_pretrained(tmp_path)
    loaded = load(str(tmp_path))
    ids, mask, types = inputs(config.type_vocab_size)
    with torch.inference_mode():
        expected = model(ids, attention_mask=mask, token_type_ids=types).logits
        torch.testing.assert_close(loaded.encoder(ids, mask, types), expected, atol=1e-5, rtol=0)
    assert loaded.encoder.label_names == ("no", "maybe", "yes")
    assert loaded.tokenizer is None
    assert not loaded.encoder.training


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])
def test_without_classifier_the_output_is_the_first_token(kind, tmp_path) -> None:
    model = make_model(kind, make_config())
    model.save_pretrained(tmp_path)
    encoder = load(tmp_path).encoder
    ids, mask, types = inputs(2)
    body = model if kind is BertModel else model.bert
    with torch.inference_mode():
        expected = body(ids, attention_mask=mask, token_type_ids=types).last_hidden_state
        torch.testing.assert_close(encoder.encode(ids, mask, types), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(encoder(ids, mask, types), expected[:, 0], atol=1e-5, rtol=0)
    assert encoder.architecture.labels == 0


def test_our_own_directory_is_read_with_its_tokenizer(encoder, tmp_path) -> None:
    encoder.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    loaded = load(tmp_path)
    assert isinstance(loaded.encoder, Encoder)
    assert loaded.encoder.architecture == encoder.architecture
    assert loaded.tokenizer == tmp_path
    assert loaded.source == str(tmp_path)


def test_the_configuration_alone_gives_the_architecture(saved) -> None:
    config = json.loads((saved / "config.json").read_text())
    assert architecture_of_config(config) == load(saved).encoder.architecture


def test_a_bare_configuration_is_bert_base() -> None:
    assert architecture_of_config({"model_type": "bert"}) == uniform(12, 768, 12, 3072)


def test_a_configuration_made_from_an_architecture_describes_it() -> None:
    architecture = uniform(3, 64, 4, 128, vocabulary=50, positions=32, labels=2)
    config = config_of(architecture, ("a", "b")).to_dict()
    config["architectures"] = ["BertForSequenceClassification"]
    assert architecture_of_config(config) == architecture


@pytest.mark.parametrize(
    "chain", [(), (FeedForward(8),), (Attention(1, 8), FeedForward(8)), (Attention(4, 8),) * 2]
)
def test_an_uneven_architecture_has_no_bert_configuration(chain) -> None:
    with pytest.raises(UsageError, match="not an ordinary BERT shape"):
        config_of(uniform(1, 32, 4, 64).with_operators(chain), ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"is_decoder": True}, "decoder"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"hidden_act": "silu"}, "silu"),
        ({"architectures": ["BertForTokenClassification"]}, "BertForTokenClassification"),
        ({"num_attention_heads": 5}, "multiple"),
        ({"hidden_size": "wide"}, "sense"),
        ({"id2label": {"0": "a", "2": "b"}}, "gaps"),
        ({"model_type": "bertt"}, "Did you mean 'bert'"),
        ({"model_type": None}, "Known: bert"),
    ],
)
def test_what_is_not_supported_is_refused(saved, changes, words) -> None:
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=words):
        load(saved)


def test_missing_weights_are_refused(saved) -> None:
    (saved / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load(saved)


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_half_written_weights_are_refused(saved, share) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ModelError, match="cannot be read"):
        load(saved)


def test_weights_without_the_classifier_are_refused(saved, tmp_path) -> None:
    make_model(BertForTokenClassification, make_config()).save_pretrained(tmp_path / "other")
    (saved / "model.safetensors").write_bytes(
        (tmp_path / "other" / "model.safetensors").read_bytes()
    )
    with pytest.raises(ModelError, match=r"lacks 2 weights.*bert\.pooler"):
        load(saved)


def test_weights_of_another_shape_are_refused(saved) -> None:
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 128}))
    with pytest.raises(ModelError, match="cannot be read"):
        load(saved)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_damaged_config_is_refused(saved, text) -> None:
    (saved / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json"):
        load(saved)


def test_a_missing_directory_or_a_file_is_refused(saved) -> None:
    with pytest.raises(ModelError, match="no directory"):
        load(str(saved / "nothing"))
    with pytest.raises(ModelError, match="is a file"):
        load(saved / "config.json")


def test_a_hub_name_without_network_says_so(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="the hub did not give it"):
        load("nobody/no-such-model")


def test_loading_is_silent(saved, capfd) -> None:
    load(saved)
    assert capfd.readouterr() == ("", "")

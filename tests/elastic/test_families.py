import json

import huggingface_hub.constants
import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
)

from deploy.architecture import Attention, FeedForward, uniform
from deploy.encoder import Encoder
from devices.errors import ModelError, UsageError
from elastic.families import load
from elastic.families.bert import FAMILY, config_of

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


@pytest.fixture
def saved(tmp_path):
    make_model(BertForSequenceClassification, make_config()).save_pretrained(tmp_path)
    return tmp_path


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
    assert FAMILY.architecture(config) == load(saved).encoder.architecture


def test_a_bare_configuration_is_bert_base() -> None:
    assert FAMILY.architecture({"model_type": "bert"}) == uniform(12, 768, 12, 3072)


def test_a_configuration_made_from_an_architecture_describes_it() -> None:
    architecture = uniform(3, 64, 4, 128, vocabulary=50, positions=32, labels=2)
    config = config_of(architecture, {"id2label": {0: "a", 1: "b"}}).to_dict()
    config["architectures"] = ["BertForSequenceClassification"]
    assert FAMILY.architecture(config) == architecture


@pytest.mark.parametrize(
    "chain", [(), (FeedForward(8),), (Attention(1, 8), FeedForward(8)), (Attention(4, 8),) * 2]
)
def test_an_uneven_architecture_has_no_bert_configuration(chain) -> None:
    with pytest.raises(UsageError, match="not an ordinary BERT shape"):
        config_of(uniform(1, 32, 4, 64).with_operators(chain), {})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"is_decoder": True}, "decoder"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"hidden_act": "silu"}, "silu"),
        ({"architectures": ["BertForNextSentencePrediction"]}, "NextSentence"),
        ({"num_attention_heads": 5}, "multiple"),
        ({"hidden_size": "wide"}, "sense"),
        ({"id2label": {"0": "a", "2": "b"}}, "gaps"),
        ({"model_type": "bertt"}, "Did you mean 'bert'"),
        ({"model_type": None}, "Known: albert, bert"),
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


def test_weights_of_more_layers_than_described_are_refused(saved) -> None:
    path = saved / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(
        ModelError, match=r"holds \d+ weights of layers .*layer\.1\..* and \d+ more"
    ):
        load(saved)


def test_weights_that_are_no_numbers_are_refused(saved) -> None:
    path = saved / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if "query.weight" in name)
    weights[name][0, 0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"1 weights .* NaN .*{name}"):
        load(saved)


def test_a_model_that_does_not_fit_into_memory_is_not_begun(saved, monkeypatch) -> None:
    free = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(ModelError, match=r"needs about .* GB of memory"):
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

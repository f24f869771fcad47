import json

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from deploy.architecture import uniform
from devices.errors import ModelError, UsageError
from elastic.families import load
from elastic.recipes.dense import dense

SHAPE = uniform(1, 32, 4, 64, vocabulary=40, positions=16)
QUICK = {"epochs": 0.3, "learning_rate": 1e-4, "seed": 0}


@pytest.fixture
def saved(tmp_path):
    """A checkpoint with five labels."""
    config = BertConfig(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=16,
        num_labels=5,
    )
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_it_writes_an_ordinary_hugging_face_directory(task, tmp_path) -> None:
    out = dense(SHAPE, task, out=tmp_path / "model", **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    model = BertForSequenceClassification.from_pretrained(out)
    assert model.config.id2label == {0: "fruit", 1: "tool"}
    text = "the apple"
    ids = AutoTokenizer.from_pretrained(out)(text)["input_ids"]
    assert ids == AutoTokenizer.from_pretrained(task.tokenizer)(text)["input_ids"]
    loaded = load(out)
    assert loaded.tokenizer == out
    assert loaded.encoder.label_names == ("fruit", "tool")
    with torch.inference_mode():
        inputs = torch.tensor([ids])
        torch.testing.assert_close(loaded.encoder(inputs), model.eval()(inputs).logits)


def test_fine_tuning_starts_from_the_weights_and_replaces_the_head(task, saved, tmp_path) -> None:
    before = load(saved).encoder
    out = dense(saved, task, out=tmp_path / "model", **QUICK)
    after = load(out).encoder
    assert after.architecture.labels == 2
    moved = (after.tokens.weight - before.tokens.weight).abs().max()
    assert 0 < moved < 0.01


def test_the_task_must_have_labels(make_task, tmp_path) -> None:
    with pytest.raises(UsageError, match="labels"):
        dense(SHAPE, make_task(label=None), out=tmp_path / "model", **QUICK)


def test_a_vocabulary_too_small_for_the_tokenizer_is_refused(task, tmp_path) -> None:
    small = uniform(1, 32, 4, 64, vocabulary=5, positions=16)
    with pytest.raises(ModelError, match="ids"):
        dense(small, task, out=tmp_path / "model", **QUICK)
    assert list(tmp_path.iterdir()) == []


def test_other_model_types_and_misshapen_weights_are_refused(task, saved, tmp_path) -> None:
    config = saved / "config.json"
    data = json.loads(config.read_text())
    config.write_text(json.dumps(data | {"intermediate_size": 96}))
    with pytest.raises(ModelError, match="lacks"):
        dense(saved, task, out=tmp_path / "model", **QUICK)
    config.write_text(json.dumps(data | {"model_type": "gpt2"}))
    with pytest.raises(ModelError, match="gpt2"):
        dense(saved, task, out=tmp_path / "model", **QUICK)


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "electra"])
def test_other_families_are_fine_tuned_as_what_they_are(kind, task, tmp_path) -> None:
    import transformers

    sizes = {"dim": 32, "n_heads": 4, "hidden_dim": 64, "n_layers": 1}
    if kind != "distilbert":
        sizes = {
            "hidden_size": 32,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
        }
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=40, max_position_embeddings=32, num_labels=5, **sizes
    )
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(
        tmp_path / "a"
    )
    out = dense(tmp_path / "a", task, out=tmp_path / "b", **QUICK)
    trained = load(out)
    assert json.loads((out / "config.json").read_text())["model_type"] == kind
    assert trained.encoder.label_names == tuple(task.label_names)
    assert trained.tokenizer == out

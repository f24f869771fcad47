"""Deep encoders that begin as shallow ones."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from deploy.kinds import IGNORED
from deploy.tokens import load_tokenizer
from elastic.recipes.dense import _named
from elastic.recipes.stacking import SHARES, depths, stack


@pytest.fixture
def small() -> BertForMaskedLM:
    torch.manual_seed(0)
    settings = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForMaskedLM(BertConfig(vocab_size=40, num_hidden_layers=2, **settings)).eval()


@pytest.mark.parametrize(
    ("layers", "found"), [(12, [3, 6, 12]), (6, [3, 6]), (4, [1, 2, 4]), (5, [5])]
)
def test_every_depth_is_twice_the_last(layers: int, found: list[int]) -> None:
    assert depths(layers) == found
    assert sum(SHARES[len(found)]) == pytest.approx(1)


def test_layers_are_there_twice_and_the_rest_once(small, tokenizer, tmp_path) -> None:
    small.save_pretrained(tmp_path / "small")
    load_tokenizer(tokenizer).save_pretrained(tmp_path / "small")
    deep = AutoModelForMaskedLM.from_pretrained(stack(tmp_path / "small", tmp_path / "deep"))
    assert deep.config.num_hidden_layers == 4
    layers, known = deep.bert.encoder.layer, small.bert.encoder.layer
    for number, layer in enumerate(layers):
        for mine, theirs in zip(layer.parameters(), known[number % 2].parameters(), strict=True):
            assert mine.equal(theirs)
    assert deep.get_input_embeddings().weight.equal(small.get_input_embeddings().weight)
    assert deep.cls.predictions.transform.dense.weight.equal(
        small.cls.predictions.transform.dense.weight
    )


def test_the_loss_of_hidden_words_is_that_of_the_whole_model(small) -> None:
    ids = torch.randint(0, 40, (3, 7))
    labels = torch.full((3, 7), IGNORED)
    labels[0, 2], labels[2, 5], labels[2, 6] = 3, 4, 5
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    expected = small(**inputs, labels=labels).loss
    assert _named(small, inputs, labels).item() == pytest.approx(expected.item(), rel=1e-6)
    assert small(**inputs).logits.shape == (3, 7, 40)  # as ever

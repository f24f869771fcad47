"""Tiny encoders, batches, and a task that a tiny encoder can learn."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.architecture import Architecture, Attention, FeedForward
from deploy.encoder import Encoder
from deploy.task import Task
from devices.runtimes import Arrays

WORDS = {"fruit": ["apple", "pear", "plum", "grape"], "tool": ["hammer", "saw", "drill", "chisel"]}
FILLER = ["the", "a", "red", "old", "good", "new", "big", "is", "was", "near"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def _encoder(labels: int = 3) -> Encoder:
    """Two layers, hidden 32, with weights large enough that every unit matters."""
    torch.manual_seed(0)
    layer = (Attention(4, 8), FeedForward(48, "gelu"))
    encoder = Encoder(Architecture(40, 32, layer * 2, positions=16, labels=labels))
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            scale = 0.3 if parameter.dim() > 1 else 0.1
            parameter.normal_(float(name.endswith("norm.weight")), scale)
    return encoder.eval()


def _batches(count: int = 3, size: int = 4) -> list[Arrays]:
    """Random ids in batches of different lengths, padded on the right."""
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(count):
        length = int(rng.integers(2, 13))
        lengths = rng.integers(1, length + 1, size)
        mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
        ids = rng.integers(0, 40, (size, length))
        types = rng.integers(0, 2, (size, length))
        batches.append({"input_ids": ids, "attention_mask": mask, "token_type_ids": types})
    return batches


@pytest.fixture(scope="session")
def make_batches() -> Callable[..., list[Arrays]]:
    return _batches


@pytest.fixture(scope="session")
def make_encoder() -> Callable[..., Encoder]:
    return _encoder


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return _encoder()


@pytest.fixture(scope="session")
def batches() -> list[Arrays]:
    return _batches()


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL, *FILLER, *WORDS["fruit"], *WORDS["tool"]]
    pieces = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    pieces.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    directory = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(
        tokenizer_object=pieces, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]"
    ).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def make_task(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Task]:
    """A task of short texts with one telling word, with or without labels."""
    rng = random.Random(0)
    path = tmp_path_factory.mktemp("data") / "data.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for index in range(480):
            label = ("fruit", "tool")[index % 2]
            words = [*rng.choices(FILLER, k=rng.randint(3, 10)), rng.choice(WORDS[label])]
            rng.shuffle(words)
            writer.writerow([" ".join(words), label])

    def make(label: str | None = "label") -> Task:
        return Task.load(data=path, text="text", label=label, tokenizer=tokenizer, max_length=16)

    return make


@pytest.fixture(scope="session")
def task(make_task: Callable[..., Task]) -> Task:
    return make_task()

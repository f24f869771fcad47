"""A tiny BERT with its tokenizer and data, as a user would bring them."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from cutonce.profiles import Profile
from cutonce.profiling import make_profiles
from deploy.architecture import uniform
from deploy.export_pool import ExportPool
from deploy.workload import Workload
from devices.target import Target
from profiler.store import open_store

WORDS = {"fruit": ["apple", "pear", "plum", "grape"], "tool": ["hammer", "saw", "drill", "chisel"]}
FILLER = ["the", "a", "red", "old", "good", "new", "big", "is", "was", "near"]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file with the columns text and label, 240 rows."""
    rng = random.Random(0)
    path = tmp_path_factory.mktemp("data") / "data.csv"
    rows = []
    for index in range(240):
        label = ("fruit", "tool")[index % 2]
        words = rng.choices(FILLER, k=rng.randint(4, 12))
        words.insert(rng.randrange(len(words)), rng.choice(WORDS[label]))
        rows.append((" ".join(words), label))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


@pytest.fixture(scope="session")
def tokenizer(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cutonce.example.tokenizer import train_tokenizer

    directory = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(data.read_text().splitlines(), 120, directory, 32)
    return directory


@pytest.fixture(scope="session")
def model(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ordinary Hugging Face BERT directory: 2 layers, hidden 32, random weights."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    loaded = AutoTokenizer.from_pretrained(tokenizer)
    config = BertConfig(
        vocab_size=len(loaded),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=32,
        id2label={0: "fruit", 1: "tool"},
        label2id={"fruit": 0, "tool": 1},
    )
    directory = tmp_path_factory.mktemp("model")
    BertForSequenceClassification(config).save_pretrained(directory)
    loaded.save_pretrained(directory)
    return directory


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own directories, so that no test sees or leaves anything there."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="session")
def profile_into() -> Callable[..., Profile]:
    """``profile_into(store, target, configurations, …)``: a profile around a small model, 32 tokens."""

    def make(path: Path, target: str, configurations: int, **how: int) -> Profile:
        with open_store(path) as store, ExportPool() as pool:
            [made] = make_profiles(
                [Target.parse(target)],
                around=uniform(1, 64, 2, 128),
                workload=Workload(1, 32),
                configurations=configurations,
                visits=3,
                store=store,
                pool=pool,
                seed=0,
                **how,
            )
        return made

    return make

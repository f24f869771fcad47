"""A tiny BERT with its tokenizer and data, as a user would bring them."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from cutonce.candidates import candidates
from cutonce.profiles import Profile, profile_path
from deploy.architecture import Architecture, uniform
from deploy.exporters.to_fake import cost_list
from deploy.workload import Workload
from devices.device import open_device
from devices.files import write_json
from devices.runtimes.fake_runtime import Physics, fake_milliseconds
from devices.target import Target
from predictors.planning import plan
from predictors.predictor import LatencyPredictor
from profiler.store import open_store

WORDS = {"fruit": ["apple", "pear", "plum", "grape"], "tool": ["hammer", "saw", "drill", "chisel"]}
SMALL = uniform(1, 64, 2, 128)  # that fake devices are profiled around
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
def put_profile() -> Callable[..., Path]:
    """``put_profile(store, target, encoders=12, around=SMALL)``: the file of a profile of a fake device
    around a model, 32 tokens, that lies beside the store; what its encoders take is computed, so that
    nothing is exported."""

    def put(path: Path, text: str, encoders: int = 12, around: Architecture = SMALL) -> Path:
        target, workload = Target.parse(text), Workload(1, 32)
        physics = Physics.of(int(target.device.partition(":")[2]))
        pool = [a for a, _ in candidates(around, [workload], 0)]
        chosen = [pool[i] for i in plan(pool, workload, encoders, target.precision, 0)]
        ms = [
            fake_milliseconds(cost_list(a, target.precision), physics, target.threads, 1, 32)
            for a in chosen
        ]
        predictor = LatencyPredictor(target.precision).fit(chosen, [workload] * encoders, ms)
        fingerprint = open_device(target.device).fingerprint()
        with open_store(path) as store:
            place = profile_path(store, target, fingerprint)
        write_json(place, Profile(target, fingerprint, predictor, ()).to_json())
        return place

    return put

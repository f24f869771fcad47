"""A tiny BERT with its tokenizer and data, as a user would bring them."""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cutonce.candidates import candidates
from cutonce.footprints import MB, to_weigh
from cutonce.profiles import Profile, profile_path
from deploy.architecture import Architecture, uniform
from deploy.costs import parameters
from deploy.encoder import Encoder
from deploy.export_pool import ExportPool
from deploy.exporters import to_fake, to_onnx
from deploy.exporters.to_fake import cost_list
from deploy.workload import Workload
from devices.device import open_device
from devices.files import write_json
from devices.runtimes.fake_runtime import Physics, fake_milliseconds
from devices.target import Target
from predictors.planning import plan
from predictors.predictor import LatencyPredictor
from predictors.quantity import FILE_SIZE
from profiler.store import open_store

WORDS = {"fruit": ["apple", "pear", "plum", "grape"], "tool": ["hammer", "saw", "drill", "chisel"]}
SMALL = uniform(1, 64, 2, 128)  # that fake devices are profiled around
FILLER = ["the", "a", "red", "old", "good", "new", "big", "is", "was", "near"]
GRAPH_BYTES = 8000  # of an exported file beside its weights, about


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(autouse=True, scope="module")
def _exports_are_made_here_and_once(graphs: Path) -> Iterator[None]:
    """Every command exports in this process, where torch is loaded and warm already, and a graph that it
    traced before is copied: tracing takes seconds. What processes of their own do is tested with the
    pool itself."""
    trace = to_onnx.trace

    def trace_once(module: Encoder, encoder: Encoder, path: Path) -> None:
        known = graphs / f"{encoder.digest}.onnx"
        if not known.exists():
            trace(module, encoder, known)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(known, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(to_onnx, "trace", trace_once)
        patch.setattr(ExportPool.__init__, "__defaults__", (1,))
        yield


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


@pytest.fixture(scope="session")
def small_task(model: Path, data: Path) -> dict[str, Any]:
    """What a search of the model on its task is given."""
    return {
        "model": model,
        "data": data,
        "text": "text",
        "label": "label",
        "max_length": 32,
        "length": 32,
    }


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own directories, so that no test sees or leaves anything there."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="session")
def put_profile() -> Callable[..., Path]:
    """``put_profile(store, target, encoders=12, around=SMALL, sizes=False)``: the file of a profile of a
    fake device around a model or, by None, of many shapes, 32 tokens, that lies beside the store, with
    the sizes of files if asked for; what its encoders take is computed, so that nothing is exported."""

    def put(
        path: Path,
        text: str,
        encoders: int = 12,
        around: Architecture | None = SMALL,
        *,
        sizes: bool = False,
    ) -> Path:
        target, workload = Target.parse(text), Workload(1, 32)
        physics = Physics.of(int(target.device.partition(":")[2]))
        pool = [a for a, _ in candidates(around, [workload], 0)]
        chosen = [pool[i] for i in plan(pool, workload, encoders, target.precision, 0)]
        ms = [
            fake_milliseconds(cost_list(a, target.precision), physics, target.threads, 1, 32)
            for a in chosen
        ]
        predictor = LatencyPredictor(target.precision).fit(chosen, [workload] * encoders, ms)
        others = {}
        if sizes:
            heavy = [a for a, _ in to_weigh([(a, workload) for a in chosen])]
            mb = [(4 * parameters(a) + GRAPH_BYTES) / MB for a in heavy]
            law = LatencyPredictor(target.precision, quantity=FILE_SIZE)
            others[FILE_SIZE.name] = law.fit(heavy, [workload] * len(heavy), mb)
        fingerprint = open_device(target.device).fingerprint()
        with open_store(path) as store:
            place = profile_path(store, target, fingerprint)
        made = Profile(target, fingerprint, predictor, (), others=others)
        write_json(place, made.to_json())
        return place

    return put


@pytest.fixture(scope="session")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph that takes what every encoder takes."""
    return to_onnx.export_graph(Encoder(uniform(1, 8, 1, 8)), tmp_path_factory.mktemp("answers"))


@pytest.fixture
def pool(answers: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExportPool]:
    """Exports every encoder with that graph, since the fake device's clock goes by the list of costs
    alone: tracing takes seconds for each."""
    monkeypatch.setattr(to_fake, "export_graph", lambda *_: answers)
    with ExportPool(workers=1) as pool:
        yield pool

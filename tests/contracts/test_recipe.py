"""What every recipe must do: learn, go on after an interruption, leave nothing half done."""

import csv
import random
from dataclasses import dataclass

import pytest
import torch

from deploy.architecture import Attention, uniform
from deploy.encoder import Encoder
from deploy.task import Task
from elastic.elastic_encoder import ElasticEncoder
from elastic.families import load
from elastic.recipes import ELASTIC, RECIPES
from elastic.recipes.distil import Lesson

FRUIT, TOOLS = ["apple", "pear", "plum"], ["hammer", "saw", "drill"]
SHIFT = 6.5  # 5: some smallest ones are right untrained; 8: no bias serves them and the whole
FILLER = ["the", "red", "old", "is", "near"]
SHAPE = uniform(1, 32, 4, 64, vocabulary=20, positions=16)
SETTINGS = {"batch_size": 16, "learning_rate": 3e-3, "seed": 0}


def accuracy(encoder: Encoder, task: Task) -> float:
    def predict(batch):
        with torch.inference_mode():
            return encoder(**{k: torch.from_numpy(v) for k, v in batch.items()}).numpy()

    return task.evaluate(predict, "report")["accuracy"]


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Task:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("task")
    words = ["[PAD]", "[UNK]", *FILLER, *FRUIT, *TOOLS]
    pieces = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=pieces, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(place)
    rng = random.Random(0)
    with (place / "data.csv").open("w", newline="") as file:
        rows = [("text", "label")]
        for index in range(400):
            text = [*rng.choices(FILLER, k=6), rng.choice((FRUIT, TOOLS)[index % 2])]
            rows.append((" ".join(text), ("fruit", "tool")[index % 2]))
        csv.writer(file).writerows(rows)
    return Task.load(
        data=place / "data.csv", text="text", label="label", tokenizer=place, max_length=16
    )


@pytest.fixture(scope="module")
def teacher(task, tmp_path_factory) -> Encoder:
    out = tmp_path_factory.mktemp("teacher") / "model"
    RECIPES.get("dense")(SHAPE, task, out=out, epochs=6, **SETTINGS)
    return with_shifted_heads(load(out).encoder)


def with_shifted_heads(encoder: Encoder) -> Encoder:
    """Answers as before, but with a head less it is off: every head adds what a bias takes away again."""
    attention, _ = encoder.operators
    with torch.no_grad():
        shift = SHIFT * torch.randn(attention.value.bias.shape, generator=torch.manual_seed(0))
        attention.value.bias += shift
        attention.output.bias -= attention.output.weight @ shift
    return encoder


@dataclass
class Dense:
    """Trains from scratch into ``out``."""

    task: Task

    def run(self, out, progress=None) -> Encoder:
        RECIPES.get("dense")(
            SHAPE, self.task, out=out / "model", epochs=6.0, progress=progress, **SETTINGS
        )
        return load(out / "model").encoder

    def is_absent(self, out) -> bool:
        return not (out / "model").exists()


@dataclass
class Distil:
    """Trains a student in place; what it writes are checkpoints only."""

    task: Task
    teacher: Encoder

    def run(self, out, progress=None) -> Encoder:
        elastic = ElasticEncoder(self.teacher)
        attention, _ = elastic.architecture.operators
        student = elastic.extract((Attention(1, attention.head_dim), None))
        with torch.no_grad():
            for parameter in student.head.classifier.parameters():
                parameter.zero_()  # at chance before it is trained
        RECIPES.get("distil")(
            student,
            Lesson(self.teacher, self.task),
            out=out,
            epochs=6.0,
            progress=progress,
            **SETTINGS,
        )
        return student

    def is_absent(self, out) -> bool:
        return {path.name for path in out.iterdir()} <= {"checkpoints"}


@dataclass
class Elastic:
    """Trains sub-networks with the dense encoder; the smallest of each kind is looked at."""

    name: str
    task: Task
    teacher: Encoder

    def run(self, out, progress=None) -> Encoder:
        # Of each stage, of which some recipes have many; blocks learn from nothing.
        epochs = {"nas-bert": 3.0, "yoco": 0.2, "cutonce": 2.0}.get(self.name, 1.0)
        own = {"nas-bert": {"share": 1.0}}.get(self.name, {})
        found = ELASTIC.get(self.name)(
            self.teacher, self.task, out=out, epochs=epochs, progress=progress, **SETTINGS, **own
        )
        smallest = tuple(
            [operator for operator in some if operator is not None][-1]
            for some in found.space.choices
        )
        return ElasticEncoder(found.encoder).extract(smallest)

    def is_absent(self, out) -> bool:
        return all((path / "checkpoints").is_dir() for path in out.iterdir())


@dataclass
class Training:
    """What an uninterrupted training came to."""

    encoder: Encoder
    seen: list[tuple[int, int]]
    written: str


@pytest.fixture(params=[*RECIPES, *ELASTIC])
def recipe(request, task, teacher):
    if request.param in ELASTIC:
        return Elastic(request.param, task, teacher)
    return {"dense": lambda: Dense(task), "distil": lambda: Distil(task, teacher)}[request.param]()


@pytest.fixture(scope="module")
def trainings() -> dict[str, Training]:
    return {}


@pytest.fixture
def whole(request, recipe, trainings, tmp_path, capfd) -> Training:
    """Uninterrupted; made once for each recipe."""
    name = request.node.callspec.params["recipe"]
    if name not in trainings:
        seen: list[tuple[int, int]] = []
        encoder = recipe.run(tmp_path / "whole", lambda *step: seen.append(step))
        trainings[name] = Training(encoder, seen, "".join(capfd.readouterr()))
    return trainings[name]


def test_it_learns_well_above_chance(whole, task) -> None:
    assert accuracy(whole.encoder, task) > 0.9


def test_it_is_silent(whole) -> None:
    assert whole.written == ""


def test_progress_counts_to_the_total(whole) -> None:
    total = whole.seen[-1][1]
    assert whole.seen == [(step, total) for step in range(1, total + 1)]


def test_interrupted_it_leaves_no_model_and_goes_on_to_the_same_weights(
    recipe, whole, tmp_path
) -> None:
    def stop_late(done: int, total: int) -> None:
        if done > 0.7 * total:
            raise KeyboardInterrupt

    place = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        recipe.run(place, stop_late)
    assert recipe.is_absent(place)
    seen: list[int] = []
    resumed = recipe.run(place, lambda done, total: seen.append(done / total))
    assert min(seen) > 0.5
    for a, b in zip(whole.encoder.parameters(), resumed.parameters(), strict=True):
        assert a.equal(b)


def test_with_smaller_trunks_it_goes_on_to_the_same_weights(task, teacher, tmp_path) -> None:
    sizes = {"hidden": (16,), "rank": (12,), "head_sizes": (4,)}

    def train(place, progress=None):
        out = tmp_path / place
        return ELASTIC.get("cutonce")(
            teacher, task, out=out, epochs=0.5, progress=progress, **SETTINGS, **sizes
        )

    def stop_late(done: int, total: int) -> None:
        if done > 0.7 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("stopped", stop_late)
    seen: list[float] = []
    resumed = train("stopped", lambda done, total: seen.append(done / total))
    assert min(seen) > 0.5
    whole = train("whole")
    assert len(whole.trunks) == 4
    for a, b in zip(whole.encoder.parameters(), resumed.encoder.parameters(), strict=True):
        assert a.equal(b)

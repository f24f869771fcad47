"""A language model of one's own, and what it is a start for."""

import random
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import cutonce
from deploy.costs import parameters
from devices.errors import DataError, UsageError
from elastic.families import load

WORDS = [
    "red",
    "blue",
    "green",
    "white",
    "black",
    "grey",
    "apple",
    "sea",
    "grass",
    "snow",
    "coal",
    "stone",
]
SMALL = {"shape": "L2-H32-A2-F64", "vocabulary": 200, "length": 16, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of two words each, so that the others tell what is hidden."""
    rng, path = random.Random(0), tmp_path_factory.mktemp("corpus") / "texts.txt"
    lines = [" ".join(rng.choices(rng.sample(WORDS, 2), k=14)) for _ in range(1500)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def made(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("made") / "base"
    return cutonce.pretrain([corpus], out=out, **SMALL, epochs=6, note="Of nobody.")


def test_it_names_hidden_words_and_says_what_it_is(made: dict[str, Any], corpus: Path) -> None:
    assert made["masked_accuracy"] > 0.3  # one in twelve by chance
    place = Path(made["model"])
    assert made["parameters"] == parameters(load(place).encoder.architecture)
    card = (place / "README.md").read_text()
    assert corpus.name in card
    assert "Of nobody." in card
    assert "L2-H32-A2-F64" in card
    assert not list(place.parent.glob(".*"))


def test_it_is_kept_in_half_precision_and_read_in_single(made: dict[str, Any]) -> None:
    weights = load_file(Path(made["model"]) / "model.safetensors")
    assert {str(tensor.dtype) for tensor in weights.values()} == {"torch.float16"}
    encoder = load(made["model"]).encoder
    assert {str(p.dtype) for p in encoder.parameters()} == {"torch.float32"}
    assert encoder.architecture.output == "masked-language-model"


def test_it_is_a_start_for_a_task(made: dict[str, Any], tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    rng = random.Random(0)
    others = ["apple", "sea", "grass", "snow", "coal", "stone"]
    rows = [
        (" ".join([w, *rng.choices(others, k=4)]), w) for w in ("red", "blue") for _ in range(90)
    ]
    data.write_text("text,label\n" + "\n".join(map(",".join, rows)))
    found = cutonce.train(
        made["model"], data=data, text="text", label="label", max_length=16, epochs=6.0,
        learning_rate=3e-3, batch_size=8, out=tmp_path / "model",
    )  # fmt: skip
    assert found["metrics"]["report"]["accuracy"] > 0.9


def test_the_one_among_the_examples_is_of_the_usual_shape() -> None:
    place = Path(__file__).parents[2] / "examples" / "english-base"
    architecture = load(place).encoder.architecture
    assert parameters(architecture) == 11_731_520


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "one.txt"
    file.write_text("red apple blue sea\n")
    with pytest.raises(DataError, match=r"only \d+ texts of 16 tokens"):
        cutonce.pretrain([file], out=tmp_path / "out", **SMALL)
    with pytest.raises(DataError, match=r"none\.txt cannot be read"):
        cutonce.pretrain([tmp_path / "none.txt"], out=tmp_path / "out", **SMALL)


@pytest.mark.parametrize("epochs", [0, -1.0, float("nan")])
def test_no_epochs_are_refused_at_once(corpus: Path, tmp_path: Path, epochs: float) -> None:
    with pytest.raises(UsageError, match="Epochs must be above 0"):
        cutonce.pretrain([corpus], out=tmp_path / "base", **SMALL, epochs=epochs)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_written_over(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists"):
        cutonce.pretrain([corpus], out=tmp_path, **SMALL)

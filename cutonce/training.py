"""Trainings as a command runs them: from what the user named to a directory that appears whole."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cutonce.configurations import SHAPE, read_configuration
from cutonce.console import progress, talk
from cutonce.pricing import Pricing
from cutonce.subnets import RECORD, read_record
from cutonce.tasks import load_task
from deploy.task import Task
from deploy.tokens import load_tokenizer, place_tokenizer
from devices.errors import UnknownName, UsageError
from devices.files import write_json
from elastic.checkpoint import ElasticCheckpoint
from elastic.families import LoadedModel, load
from elastic.recipes import ELASTIC
from elastic.recipes.augmentation import (
    Pieces,
    Sources,
    augmented,
    check_language_model,
    check_same_tokenizer,
    read_vectors,
)
from elastic.recipes.dense import dense
from elastic.recipes.distil import Lesson, distil
from elastic.recipes.memory import check_room
from elastic.recipes.processes import agreed, finish, processes

READ: dict[type, Callable[[str], Any]] = {
    int: int, float: float, tuple: lambda text: tuple(map(int, text.split(","))),
}  # fmt: skip
GIVEN = {"seed", "batch_size", "epochs", "learning_rate"}  # settings with flags of their own
INSIDE = {"out", "progress", "price"}  # that are no text


def train_dense(
    model: str, out: Path, tokenizer: str | Path | None, described: dict[str, Any],
    settings: dict[str, Any],
) -> Task:  # fmt: skip
    """Fine-tune, or train from scratch where ``model`` is a shape."""
    shape = read_configuration(model) if SHAPE.fullmatch(model) else None
    if shape is not None and tokenizer is None:
        raise UsageError(f"Training {model} from scratch needs --tokenizer.")
    kind = described["kind"] or "text-classification"
    known = Task.load(**described | {"kind": kind}, tokenizer=tokenizer or model)
    if shape is not None:
        shape = replace(shape, vocabulary=known.tokenizer_size)
    same_request(out, ["dense", model, known.to_json(), settings])
    with progress(f"training {out.name}") as advance:
        dense(shape or model, known, out=out, progress=advance, **settings)
    return known


def train_distilled(
    model: str, teacher: str, out: Path, described: dict[str, Any], settings: dict[str, Any]
) -> Task:
    """Train the sub-network ``model`` towards ``teacher``."""
    student, taught = load(model), load(teacher)
    known = load_task(taught, **described)
    digests = [student.encoder.digest, taught.encoder.digest]
    same_request(out, ["distil", model, teacher, digests, known.to_json(), settings])
    with progress(f"distilling {out.name}") as advance:
        lesson = Lesson(taught.encoder, known)
        better = distil(student.encoder, lesson, out=unfinished(out), progress=advance, **settings)
    if not better:
        talk(f"{model} stays as it was: distilled by {teacher} it is no better.")

    def write(place: Path) -> None:
        student.encoder.save_pretrained(place)
        _place_tokenizer(student, place)
        record = read_record(Path(model))
        if record is not None:
            write_json(place / RECORD, record)

    finish(out, unfinished(out), write)
    return known


@dataclass(frozen=True)
class Augmentation:
    """Copies of every training example with words replaced, see elastic.recipes.augmentation.

    Attributes:
        copies: at most; 0 for none. language_model, vectors: what the candidates are from.
    """

    copies: int = 0
    language_model: str | Path | None = None
    vectors: Path | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value and str(value) for name, value in asdict(self).items()}

    def of(self, task: Task, model: LoadedModel, seed: int) -> Task:
        """``task`` with the copies.

        Raises:
            UsageError: candidates are named and no copies are asked for.
            ModelError: the language model is none, or has other tokens than ``model``.
        """
        if not self.copies:
            if self.language_model or self.vectors:
                raise UsageError("--language-model and --word-vectors go with --augment only.")
            return task
        asked = None if self.language_model is None else load(str(self.language_model))
        if asked is not None:
            check_language_model(asked.encoder, asked.source)
            check_same_tokenizer(task.tokenizer, asked.tokenizer or asked.source)
        sources = Sources(
            Pieces(load_tokenizer(task.tokenizer)),
            model.encoder.tokens.weight.detach(),
            None if asked is None else asked.encoder,
            None if self.vectors is None else read_vectors(Path(self.vectors)),
        )
        with progress("augmenting") as advance:
            return augmented(task, sources, copies=self.copies, seed=seed, progress=advance)


def train_elastic(
    recipe: str,
    model: str,
    out: Path,
    described: dict[str, Any],
    settings: dict[str, Any],
    augmentation: Augmentation,
    pricing: Pricing | None = None,
) -> tuple[Task, ElasticCheckpoint]:
    """Train ``model`` with all its sub-networks.

    Args:
        settings: the recipe's own; text is read as the type of the default.
        pricing: for a recipe that prices operators, nas-bert.

    Raises UnknownName for a setting that the recipe does not have.
    """
    train = ELASTIC.get(recipe)
    settings = read_settings(train, settings)
    loaded = load(model)
    priced = {} if pricing is None else {"price": pricing.price(loaded.encoder.architecture)}
    known = load_task(loaded, **described)
    asked = settings if pricing is None else {**settings, "price": pricing.to_json()}
    same_request(
        out, [recipe, model, loaded.encoder.digest, known.to_json(), asked, augmentation.to_json()]
    )
    size = settings.get("batch_size") or inspect.signature(train).parameters["batch_size"].default
    check_room(loaded.encoder.architecture, size, known.max_length)
    known = agreed(augmentation.of(known, loaded, described["seed"]))
    with progress(f"training {out.name}") as advance:
        checkpoint: ElasticCheckpoint = train(
            loaded.encoder, known, out=unfinished(out), progress=advance, **settings, **priced
        )

    def write(place: Path) -> None:
        checkpoint.save(place)
        _place_tokenizer(loaded, place)

    finish(out, unfinished(out), write)
    return known, checkpoint


def read_settings(train: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` with texts read as the types of the defaults of ``train``.

    Raises:
        UnknownName: a setting that it does not have. UsageError: a text that is not of that type.
    """
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(train).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in INSIDE
    }
    found = {}
    for name, value in given.items():
        if name not in defaults:
            raise UnknownName("setting", name, set(defaults) - GIVEN)
        kind = type(defaults[name])
        try:
            found[name] = READ[kind](value) if isinstance(value, str) and kind in READ else value
        except ValueError:
            wanted = "whole numbers between commas" if kind is tuple else kind.__name__
            raise UsageError(f"Setting {name} is {value!r}; expected {wanted}.") from None
    return found


def unfinished(out: Path) -> Path:
    """Where the checkpoints of a training lie until ``out`` appears."""
    return out.with_name(f".{out.name}.training")


def same_request(out: Path, request: list[Any]) -> None:
    """Keep what was asked beside the checkpoints; refuse to go on from those of something else."""
    path = unfinished(out) / "request.json"
    asked = json.loads(json.dumps(request, default=str))
    begun = path.exists() and any(other != path for other in path.parent.iterdir())
    if begun and json.loads(path.read_text()) != asked:
        raise UsageError(
            f"{path.parent} holds the checkpoints of another training for {out}; remove that directory "
            "to start again, choose another --out, or repeat that command to go on with it."
        )
    processes().wait_for_everyone()  # until each has looked
    if processes().is_main_process:
        write_json(path, asked)


def _place_tokenizer(model: LoadedModel, place: Path) -> None:
    if model.tokenizer is not None:
        place_tokenizer(model.tokenizer, place)

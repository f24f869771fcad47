"""Train a model: fine-tune or pre-shape a dense BERT, or distil a sub-network.

--recipe dense fine-tunes the checkpoint MODEL, or trains one from scratch where MODEL is a shape
such as L6-H256-A4-F1024 (with --tokenizer), and writes an ordinary Hugging Face directory.
--recipe distil trains the sub-network MODEL towards --teacher. Interrupted, the same command goes on
from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutonce.console import progress, show_table
from cutonce.options import add_task, task_keywords
from devices.errors import UnknownName, UsageError
from devices.files import write_json
from elastic.recipes import RECIPES

if TYPE_CHECKING:
    from deploy.task import Task


def train(
    model: str | Path,
    *,
    recipe: str = "dense",
    out: Path,
    data: str | Path,
    text: str,
    text_pair: str | None = None,
    label: str | None = None,
    evaluation: str | Path | None = None,
    task: str | None = None,
    max_length: int = 128,
    tokenizer: str | Path | None = None,
    teacher: str | Path | None = None,
    epochs: float | None = None,
    learning_rate: float | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> dict[str, Any]:
    """Train, write the model to ``out``, and score it on the report split.

    Args:
        model: a checkpoint, a shape to train from scratch, or (distil) a sub-network.
        data, text, text_pair, label, evaluation, task, max_length: the task; to distil, by default what
            the teacher is for, else text-classification.
        tokenizer: directory or hub name; default: the model's own.
        teacher: the dense model that a sub-network is distilled from.
        epochs, learning_rate: default: what suits the recipe.

    Raises:
        UsageError: ``out`` exists, or the arguments do not go with the recipe.
    """
    from deploy.costs import parameters
    from elastic.families import load

    if recipe not in RECIPES:
        raise UnknownName("recipe", recipe, RECIPES)
    out = Path(out)
    if out.exists():
        raise UsageError(f"{out} exists; choose another --out, or remove it.")
    if (recipe == "distil") != (teacher is not None):
        raise UsageError(
            "--teacher names the dense model of --recipe distil, and goes with it only."
        )
    described = {
        "kind": task,
        "data": data,
        "text": text,
        "text_pair": text_pair,
        "label": label,
        "evaluation": evaluation,
        "max_length": max_length,
        "seed": seed,
    }
    settings = {
        name: value
        for name, value in (("epochs", epochs), ("learning_rate", learning_rate))
        if value is not None
    }
    settings |= {"batch_size": batch_size, "seed": seed}
    if recipe == "distil":
        known = _distil(str(model), str(teacher), out, described, settings)
    else:
        known = _dense(str(model), out, tokenizer, described, settings)
    trained = load(out).encoder
    scores = {"report": score(known, trained)} if known.labelled else {}
    return {
        "model": str(out),
        "architecture": trained.architecture.to_json(),
        "parameters": parameters(trained.architecture),
        "task": known.to_json(),
        "metrics": scores,
    }


def _same_request(out: Path, request: list[Any]) -> None:
    """Keep what was asked beside the checkpoints; refuse to go on from those of something else."""
    path = out.with_name(f".{out.name}.training") / "request.json"
    asked = json.loads(json.dumps(request, default=str))
    if path.exists() and json.loads(path.read_text()) != asked:
        raise UsageError(
            f"{path.parent} holds the checkpoints of another training for {out}; remove that directory "
            "to start again, choose another --out, or repeat that command to go on with it."
        )
    write_json(path, asked)


def score(task: Task, encoder: Any) -> dict[str, float]:
    """The task's metrics of ``encoder`` on the report split."""
    from cutonce.tasks import predict_with

    return task.evaluate(predict_with(encoder), "report")


def _dense(
    model: str,
    out: Path,
    tokenizer: str | Path | None,
    described: dict[str, Any],
    settings: dict[str, Any],
) -> Task:
    from cutonce.configurations import SHAPE, read_configuration
    from deploy.task import Task
    from elastic.recipes.dense import dense

    shape = read_configuration(model) if SHAPE.fullmatch(model) else None
    if shape is not None and tokenizer is None:
        raise UsageError(f"Training {model} from scratch needs --tokenizer.")
    kind = described["kind"] or "text-classification"
    known = Task.load(**described | {"kind": kind}, tokenizer=tokenizer or model)
    if shape is not None:
        shape = replace(shape, vocabulary=known.tokenizer_size)
    _same_request(out, ["dense", model, known.to_json(), settings])
    with progress(f"training {out.name}") as advance:
        dense(shape or model, known, out=out, progress=advance, **settings)
    return known


def _distil(
    model: str,
    teacher: str,
    out: Path,
    described: dict[str, Any],
    settings: dict[str, Any],
) -> Task:
    import shutil

    from cutonce.subnets import read_record
    from cutonce.tasks import load_task
    from deploy.tokens import place_tokenizer
    from devices.files import whole_directory
    from elastic.families import load
    from elastic.recipes.distil import Lesson, distil

    student, dense = load(model), load(teacher)
    known = load_task(dense, **described)
    digests = [student.encoder.digest, dense.encoder.digest]
    _same_request(out, ["distil", model, teacher, digests, known.to_json(), settings])
    unfinished = out.with_name(f".{out.name}.training")
    with progress(f"distilling {out.name}") as advance:
        lesson = Lesson(dense.encoder, known)
        distil(student.encoder, lesson, out=unfinished, progress=advance, **settings)
    with whole_directory(out) as place:
        student.encoder.save_pretrained(place)
        if student.tokenizer is not None:
            place_tokenizer(student.tokenizer, place)
        record = read_record(Path(model))
        if record is not None:
            write_json(place / "subnet.json", record)
    shutil.rmtree(unfinished)
    return known


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory, hub name, or a shape")
    parser.add_argument("--recipe", default="dense", help=f"one of {', '.join(RECIPES)}")
    parser.add_argument("--out", type=Path, required=True, help="directory of the trained model")
    add_task(parser, required=True)
    parser.add_argument("--tokenizer", help="directory or hub name (default: the model's own)")
    parser.add_argument("--teacher", help="dense model to distil from")
    parser.add_argument("--epochs", type=float, help="default: 3 for dense, 2 for distil")
    parser.add_argument("--learning-rate", type=float, help="peak of the linear schedule")
    parser.add_argument("--batch-size", type=int, default=32, help="default 32")


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = train(
        args.model,
        recipe=args.recipe,
        out=args.out,
        **task_keywords(args),
        tokenizer=args.tokenizer,
        teacher=args.teacher,
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        seed=args.seed,
    )
    return result, 0


def show(result: dict[str, Any]) -> None:
    scores = result["metrics"].get("report", {})
    rows = [(name, f"{value:.4g}") for name, value in scores.items()]
    show_table(
        f"{result['model']}: {result['parameters']:,} parameters", ("report split", "value"), rows
    )

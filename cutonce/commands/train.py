"""Train a model: fine-tune or pre-shape a dense BERT, make it elastic, or distil a sub-network.

--recipe dense fine-tunes the checkpoint MODEL, or trains one from scratch where MODEL is a shape
such as L6-H256-A4-F1024 (with --tokenizer), and writes an ordinary Hugging Face directory.
--recipe cutonce, dynabert or yoco trains the fine-tuned MODEL with all its sub-networks, for
`cutonce search` to choose from; rosita cuts it to one small model while it is trained, nas-bert puts
one together of blocks that learn from it, each of which it prices by its latency on --target, or else
by its multiply-accumulates.
--recipe distil trains the sub-network MODEL towards --teacher. Interrupted, the same command goes on
from its last checkpoint. `accelerate launch -m cutonce.cli train …` trains on several GPUs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cutonce.console import interval, milliseconds, show_table, told_once
from cutonce.options import add_task, add_workload, task_keywords
from deploy.workload import Workload
from devices.errors import UnknownName, UsageError
from elastic.recipes import ELASTIC, RECIPES

if TYPE_CHECKING:
    from cutonce.pricing import Pricing
    from deploy.task import Task
    from elastic.checkpoint import ElasticCheckpoint

PRICED = "nas-bert"  # the recipe that prices what it chooses


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
    batch_size: int | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    augment: int = 0,
    language_model: str | Path | None = None,
    word_vectors: Path | None = None,
    target: str | None = None,
    batch: int | None = None,
    length: int | None = None,
    store: str | Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Train, write the model to ``out``, and score it on the report split.

    Args:
        model: a checkpoint, a shape to train from scratch, or (distil) a sub-network.
        data, text, text_pair, label, evaluation, task, max_length: the task; to distil, by default what
            the teacher is for, else text-classification.
        tokenizer: directory or hub name; default: the model's own.
        teacher: the dense model that a sub-network is distilled from.
        epochs, learning_rate, batch_size: default: what suits the recipe.
        settings: others of an elastic recipe, by name.
        augment: copies of every training example with words replaced, for an elastic recipe.
        language_model, word_vectors: what takes their place; by default what is alike to the model
        itself.
        target: a profiled target whose milliseconds take the place of multiply-accumulates in recipe
            nas-bert. batch, length: the workload there, by default 1 and 128. store: with the profile.

    Raises:
        UsageError: ``out`` exists, the arguments do not go with the recipe, or there is no profile of
            ``target``.
    """
    from cutonce.training import Augmentation, train_dense, train_distilled, train_elastic
    from deploy.costs import parameters
    from elastic.families import load

    if recipe not in (known := (*RECIPES, *ELASTIC)):
        raise UnknownName("recipe", recipe, known)
    out = Path(out)
    if out.exists():
        raise UsageError(f"{out} exists; choose another --out, or remove it.")
    if (recipe == "distil") != (teacher is not None):
        raise UsageError(
            "--teacher names the dense model of --recipe distil, and goes with it only."
        )
    if recipe not in ELASTIC and (settings or augment or language_model or word_vectors):
        raise UsageError(
            f"--set and --augment are for the recipes {', '.join(ELASTIC)}, not for {recipe}."
        )
    pricing = _pricing(recipe, target, batch, length, store)
    described = {
        "kind": task, "data": data, "text": text, "text_pair": text_pair, "label": label,
        "evaluation": evaluation, "max_length": max_length, "seed": seed,
    }  # fmt: skip
    given = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size}
    chosen = {name: value for name, value in given.items() if value is not None} | {"seed": seed}
    asked: dict[str, Any] = {**chosen, **settings}
    checkpoint = None
    if recipe in ELASTIC:
        more = Augmentation(augment, language_model, word_vectors)
        done, checkpoint = train_elastic(recipe, str(model), out, described, asked, more, pricing)
    elif teacher is not None:
        done = train_distilled(str(model), str(teacher), out, described, asked)
    else:
        done = train_dense(str(model), out, tokenizer, described, asked)
    trained = load(out).encoder
    result = {
        "model": str(out),
        "architecture": trained.architecture.to_json(),
        "parameters": parameters(trained.architecture),
        "task": done.to_json(),
        "metrics": {"report": score(done, trained)} if done.labelled else {},
    }
    if checkpoint is not None:
        result["passes"] = checkpoint.passes
        result["networks"] = score_networks(done, checkpoint) if done.labelled else {}
    if pricing is not None:
        result["latency"] = pricing.predicted(trained.architecture)
    return result


def _pricing(
    recipe: str, target: str | None, batch: int | None, length: int | None, store: str | Path | None
) -> Pricing | None:
    if target is None:
        if (batch, length, store) != (None, None, None):
            raise UsageError("--batch, --length and --store are of --target, and go with it only.")
        return None
    if recipe != PRICED:
        raise UsageError(
            f"--target prices the blocks of --recipe {PRICED}, and goes with it only, not with {recipe}."
        )
    from cutonce.pricing import Pricing

    usual = Workload()
    workload = Workload(
        usual.batch if batch is None else batch, usual.length if length is None else length
    )
    return Pricing.find(target, workload, store)


def score(task: Task, encoder: Any) -> dict[str, float]:
    """The task's metrics of ``encoder`` on the report split."""
    from cutonce.tasks import predict_with

    return task.evaluate(predict_with(encoder), "report")


def score_networks(task: Task, checkpoint: ElasticCheckpoint) -> dict[str, dict[str, float]]:
    """The same of every sub-network that has a name."""
    from elastic.elastic_encoder import ElasticEncoder
    from elastic.recipes.processes import gathered, share_of

    elastic = ElasticEncoder(checkpoint.encoder)
    names = list(checkpoint.networks)
    mine = {
        name: score(task, elastic.extract(checkpoint.networks[name])) for name in share_of(names)
    }
    found = gathered(mine)
    return {name: found[name] for name in names}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory, hub name, or a shape")
    parser.add_argument(
        "--recipe", default="dense", help=f"one of {', '.join((*RECIPES, *ELASTIC))}"
    )
    parser.add_argument("--out", type=Path, required=True, help="directory of the trained model")
    add_task(parser, required=True)
    parser.add_argument("--tokenizer", help="directory or hub name (default: the model's own)")
    parser.add_argument("--teacher", help="dense model to distil from")
    parser.add_argument("--epochs", type=float, help="default: what suits the recipe")
    parser.add_argument("--learning-rate", type=float, help="peak of the linear schedule")
    parser.add_argument(
        "--batch-size", type=int, help="of all processes (default: what suits the recipe)"
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of an elastic recipe; may be given several times",
    )
    parser.add_argument(
        "--augment",
        type=int,
        default=0,
        metavar="N",
        help="copies of every example, words replaced",
    )
    parser.add_argument("--language-model", help="masked language model that has words for them")
    parser.add_argument("--word-vectors", type=Path, help="text file of word vectors that has")
    parser.add_argument("--target", help=f"profiled target that {PRICED} prices blocks by")
    parser.add_argument("--store", type=Path, help="with its profile (default: the user's own)")
    add_workload(parser)
    parser.set_defaults(batch=None, length=None)


@told_once()
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
        settings=dict(_pair(text) for text in args.settings),
        augment=args.augment,
        language_model=args.language_model,
        word_vectors=args.word_vectors,
        target=args.target,
        batch=args.batch,
        length=args.length,
        store=args.store,
        seed=args.seed,
    )
    return result, 0


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise UsageError(f"{text!r} sets nothing; write --set NAME=VALUE.")
    return name.replace("-", "_"), value


def show(result: dict[str, Any]) -> None:
    scores = result["metrics"].get("report", {})
    rows = [(name, f"{value:.4g}") for name, value in scores.items()]
    show_table(
        f"{result['model']}: {result['parameters']:,} parameters", ("report split", "value"), rows
    )
    if result.get("networks"):
        rows = [
            (name, *(f"{value:.4g}" for value in scores.values()))
            for name, scores in result["networks"].items()
        ]
        show_table("sub-networks, report split", ("", *scores), rows)
    if latency := result.get("latency"):
        cells = (
            str(Workload(**latency["workload"])),
            milliseconds(latency["ms"]),
            interval(*latency["interval"]),
            "yes" if latency["in_domain"] else "no: an extrapolation",
        )
        header = ("workload", "predicted", "90 % interval", "in domain")
        show_table(f"latency on {latency['target']}", header, [cells])

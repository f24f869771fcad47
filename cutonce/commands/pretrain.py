"""Train a small language model of one's own: a tokenizer and a masked language model from text files.

Other words are hidden every time that a text comes (elastic.recipes.hiding), and a deep encoder is
trained at a quarter and at half of its layers first (elastic.recipes.stacking). What is written is an
ordinary Hugging Face directory in half precision, with a model card, to be fine-tuned by
`cutonce train DIR --recipe dense`. Interrupted, the same command goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutonce.console import progress, show_table, told_once
from devices.errors import DataError, UsageError

if TYPE_CHECKING:
    from deploy.architecture import Architecture
    from deploy.task import Task

SHAPE = "L12-H256-A4-F1024"
CHUNKS = "chunks.txt"
LEARNING_RATE = 1e-3
DROPOUT = 0.0  # what is seen a few times is not learnt by heart (arXiv 2212.14034 §4.3)


def pretrain(
    corpus: Sequence[str | Path],
    *,
    out: Path,
    shape: str = SHAPE,
    vocabulary: int = 8000,
    length: int = 128,
    epochs: float = 2.0,
    learning_rate: float = LEARNING_RATE,
    batch_size: int = 32,
    note: str = "",
    seed: int = 0,
) -> dict[str, Any]:
    """Train and write the model to ``out``, and say how many hidden words of unseen text it names.

    Args:
        corpus: text files, of which each line is a paragraph.
        shape: of the encoder. vocabulary: entries of the tokenizer, at most.
        length: tokens per text. epochs: times that a text is seen, at all depths together.
        note: for the model card, as the texts' licence.

    Raises:
        UsageError: ``out`` exists, or ``shape`` is none.
        DataError: a file cannot be read, or there is too little text.
    """
    from dataclasses import replace

    from cutonce.configurations import read_configuration
    from cutonce.training import same_request, unfinished
    from deploy.costs import parameters
    from devices.files import sha256
    from elastic.recipes.processes import finish

    if not epochs > 0:  # before the tokenizer, which takes long
        raise UsageError(f"Epochs must be above 0, not {epochs:g}.")
    out, files = Path(out), [Path(file) for file in corpus]
    if out.exists():
        raise UsageError(f"{out} exists; choose another --out, or remove it.")
    architecture, work = read_configuration(shape), unfinished(out)
    paragraphs = [line for file in files for line in _lines(file)]
    settings: dict[str, Any] = {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "seed": seed,
    }
    texts = {file.name: sha256(file) for file in files}
    asked = ["pretrain", texts, shape, vocabulary, length, epochs, settings]
    same_request(out, asked)
    with progress("training the tokenizer"):
        task = _task(paragraphs, work, vocabulary, length, seed)
    architecture = replace(
        architecture, vocabulary=task.tokenizer_size, positions=512, labels=0, head=task.output
    )
    model = _train(architecture, task, work, epochs, settings)
    score = _score(task, model)
    count = parameters(architecture)

    def write(place: Path) -> None:
        _halve(model, place)
        card = _card(out.name, shape, count, list(texts), epochs, length, score, note)
        (place / "README.md").write_text(card, encoding="utf-8")

    finish(out, work, write)
    return {"model": str(out), "parameters": count, "corpus": texts, **score}


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read ({error}); expected text in UTF-8.") from error


def _task(paragraphs: Sequence[str], work: Path, vocabulary: int, length: int, seed: int) -> Task:
    """Texts of ``length`` tokens."""
    from cutonce.example.tokenizer import train_tokenizer
    from deploy.task import Task
    from deploy.tokens import load_tokenizer
    from elastic.recipes.processes import processes

    place = work / "tokenizer"
    if processes().is_main_process and not place.is_dir():
        train_tokenizer(filter(None, paragraphs), vocabulary, place, 512)
    processes().wait_for_everyone()
    tokenizer = load_tokenizer(place)
    chunks = list(_chunks(paragraphs, tokenizer, length - 2))
    if len(chunks) < 100:
        raise DataError(
            f"The corpus has only {len(chunks)} texts of {length} tokens; give more files."
        )
    if processes().is_main_process:
        (work / CHUNKS).write_text("\n".join(chunks) + "\n", encoding="utf-8")
    processes().wait_for_everyone()
    return Task.load(
        kind="masked-language-model", data=work / CHUNKS, text="text", tokenizer=place,
        max_length=length, seed=seed,
    )  # fmt: skip


def _chunks(paragraphs: Sequence[str], tokenizer: Any, length: int) -> Any:
    """The words of all paragraphs one after the other, as many as have ``length`` tokens together."""
    words: list[str] = []
    room = length
    for paragraph in paragraphs:
        encoded = tokenizer(paragraph, add_special_tokens=False, return_offsets_mapping=True)
        counts: dict[int, int] = {}
        for word in encoded.word_ids():
            counts[word] = counts.get(word, 0) + 1
        for word, count in counts.items():
            if count > room and words:
                yield " ".join(words)
                words, room = [], length
            begin, end = encoded.word_to_chars(word)
            words.append(paragraph[begin:end])
            room -= count
    if words:
        yield " ".join(words)


def _train(
    architecture: Architecture,
    task: Task,
    work: Path,
    epochs: float,
    settings: Mapping[str, Any],
) -> Path:
    """One depth after the other; returns where the last is."""
    from elastic.recipes.dense import dense
    from elastic.recipes.stacking import SHARES, depths, stack

    operators = architecture.operators
    found = depths(len(operators) // 2)
    begin: Path | Architecture = architecture.with_operators(operators[: 2 * found[0]])
    for number, (layers, share) in enumerate(zip(found, SHARES[len(found)], strict=True)):
        place = work / f"L{layers}"
        if not place.exists():
            if isinstance(begin, Path):
                begin = stack(begin, work / f"L{layers}-begun")
            with progress(f"training {layers} layers") as advance:
                dense(
                    begin,
                    task,
                    out=place,
                    epochs=share * epochs,
                    dropout=DROPOUT,
                    progress=advance,
                    **{**settings, "seed": settings["seed"] + number},  # in another order
                )
        begin = place
    return place


def _score(task: Task, model: Path) -> dict[str, float]:
    from cutonce.tasks import predict_with
    from elastic.families import load

    return task.evaluate(predict_with(load(model).encoder), "report")


def _halve(source: Path, place: Path) -> None:
    """The model of ``source`` in half precision, and its tokenizer."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    from elastic.quiet import quiet

    with quiet():
        model = AutoModelForMaskedLM.from_pretrained(source, dtype=torch.float16)
        model.save_pretrained(place)
        AutoTokenizer.from_pretrained(source).save_pretrained(place)


def _card(
    name: str,
    shape: str,
    count: int,
    files: Sequence[str],
    epochs: float,
    length: int,
    score: dict[str, float],
    note: str,
) -> str:
    return f"""---
library_name: transformers
pipeline_tag: fill-mask
---
# {name}

A masked language model of shape {shape} with {count:,} parameters, made at home by `cutonce pretrain`:
trained from nothing on {", ".join(files)}, {epochs:g} times over in texts of {length} tokens, which is
very little. It is a start for examples and benchmarks, and no more: of the hidden words in text that it
was not trained on it names {score["masked_accuracy"]:.1%}.

Half precision; lower-case WordPiece tokenizer trained on the same texts.

{note}
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", nargs="+", metavar="FILE", help="text, a paragraph per line")
    parser.add_argument("--out", type=Path, required=True, help="directory of the trained model")
    parser.add_argument("--shape", default=SHAPE, help=f"of the encoder (default {SHAPE})")
    parser.add_argument("--vocabulary", type=int, default=8000, help="entries (default 8000)")
    parser.add_argument("--length", type=int, default=128, help="tokens per text (default 128)")
    parser.add_argument("--epochs", type=float, default=2.0, help="times over (default 2)")
    parser.add_argument(
        "--learning-rate", type=float, default=LEARNING_RATE, help=f"default {LEARNING_RATE:g}"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="default 32")
    parser.add_argument("--note", default="", help="for the model card, as the texts' licence")


@told_once()
def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = pretrain(
        args.corpus,
        out=args.out,
        shape=args.shape,
        vocabulary=args.vocabulary,
        length=args.length,
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        note=args.note,
        seed=args.seed,
    )
    return result, 0


def show(result: dict[str, Any]) -> None:
    rows = [("hidden words named", f"{result['masked_accuracy']:.1%}")]
    show_table(
        f"{result['model']}: {result['parameters']:,} parameters", ("report split", "value"), rows
    )

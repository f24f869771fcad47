"""Fine-tune a classifier on a task, or train one from scratch: the dense model to be cut.

Source: Devlin et al. 2019 (arXiv 1810.04805) §4.1: cross-entropy on the pooled first token.
"""

from __future__ import annotations

import inspect
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deploy.architecture import Architecture
from deploy.task import Task
from deploy.tokens import load_tokenizer
from devices.errors import UsageError
from devices.files import whole_directory
from elastic.quiet import quiet
from elastic.recipes.training import Batch, Progress, fit, inputs_of


def dense(
    model: str | Path | Architecture,
    task: Task,
    *,
    out: Path,
    epochs: float = 3.0,
    learning_rate: float = 5e-5,
    batch_size: int = 32,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Train and save an ordinary Hugging Face directory with the task's tokenizer; returns ``out``.

    ``out`` appears whole when training is done. Until then checkpoints stand beside it, and the
    same call goes on from them.

    Args:
        model: a directory or hub name, whose head is replaced where it has other outputs, or
            an architecture of BERT's shape to train from scratch.
        epochs, learning_rate, batch_size: see :func:`elastic.recipes.training.fit`.

    Raises:
        UsageError: the task has no labels, or the architecture is not BERT-shaped.
        ModelError: the model cannot be read, or does not fit the tokenizer or text length.
    """
    if task.split("train").labels is None:
        raise UsageError("Training needs labels; name the column that holds them with --label.")
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # new weights; the Trainer seeds everything after them
        network = _network(model, task)
    unfinished = out.with_name(f".{out.name}.training")
    fit(
        network,
        task,
        loss=_cross_entropy,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
        out=unfinished,
        progress=progress,
    )
    with whole_directory(out) as place, quiet():
        network.save_pretrained(place)
        load_tokenizer(task.tokenizer).save_pretrained(place)
    shutil.rmtree(unfinished)
    return out


def _network(model: str | Path | Architecture, task: Task) -> Any:
    import transformers

    from elastic.families import family_of, locate, read_config
    from elastic.families.bert import config_of
    from elastic.families.reading import read_model

    labels = len(task.label_names)
    if isinstance(model, Architecture):
        task.check_fits(replace(model, labels=labels))
        with quiet():
            return transformers.BertForSequenceClassification(config_of(model, task.label_names))
    directory = locate(model)
    config = read_config(directory)
    family = family_of(config, str(directory))
    architecture = replace(family.architecture(config), labels=labels)
    task.check_fits(architecture)
    return read_model(
        getattr(transformers, family.classifier),
        directory,
        fresh=family.head(architecture),
        id2label=dict(enumerate(task.label_names)),
        label2id={name: index for index, name in enumerate(task.label_names)},
        ignore_mismatched_sizes=True,
    )


def _cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    taken = inspect.signature(model.forward).parameters  # some families have no token types
    inputs = {name: tensor for name, tensor in inputs_of(batch).items() if name in taken}
    logits = model(**inputs).logits
    return nn.functional.cross_entropy(logits, batch["labels"])

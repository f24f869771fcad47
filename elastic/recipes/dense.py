"""Fine-tune a model on a task, or train one from scratch: the dense model to be cut.

Source: Devlin et al. 2019 (arXiv 1810.04805) §§3, 4: one linear layer, or a pooler and one, on what the
task reads, and the cross-entropy of its choices.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deploy.architecture import Architecture
from deploy.kinds import IGNORED
from deploy.task import Task
from deploy.tokens import load_tokenizer
from devices.errors import UsageError
from elastic.outputs import loss, single
from elastic.quiet import quiet
from elastic.recipes.from_scratch import from_scratch
from elastic.recipes.hiding import Hiding
from elastic.recipes.processes import finish
from elastic.recipes.training import Batch, Loss, Progress, fit, inputs_of


def dense(
    model: str | Path | Architecture,
    task: Task,
    *,
    out: Path,
    epochs: float = 3.0,
    learning_rate: float = 5e-5,
    batch_size: int = 32,
    dropout: float | None = None,
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
        dropout: while it is trained here; None for the model's own.

    Raises:
        UsageError: the task has no labels, or the architecture is not BERT-shaped.
        ModelError: the model cannot be read, or does not fit the tokenizer or text length.
    """
    if task.split("train").labels is None:
        raise UsageError("Training needs labels; name the column that holds them with --label.")
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # new weights; the Trainer seeds everything after them
        network = _network(model, task)
    if dropout is not None:
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
    unfinished = out.with_name(f".{out.name}.training")
    fit(
        network,
        task,
        loss=_loss(task),
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
        out=unfinished,
        progress=progress,
    )

    def write(place: Path) -> None:
        with quiet():
            network.save_pretrained(place)
            load_tokenizer(task.tokenizer).save_pretrained(place)

    finish(out, unfinished, write)
    return out


def _network(model: str | Path | Architecture, task: Task) -> Any:
    import transformers

    from elastic.families import family_of, locate, read_config
    from elastic.families.family import PROBLEMS
    from elastic.families.reading import read_model

    output, labels = task.output, len(task.label_names)
    settings: dict[str, Any] = {}
    if labels:
        settings["id2label"] = dict(enumerate(task.label_names))
        settings["label2id"] = {name: index for index, name in enumerate(task.label_names)}
    problem = next((name for name, meant in PROBLEMS.items() if meant == output), None)
    if problem is not None:
        settings["problem_type"] = problem
    if isinstance(model, Architecture):
        task.check_fits(replace(model, labels=labels, head=output))
        return from_scratch(model, output, settings)
    directory = locate(model)
    config = read_config(directory)
    family = family_of(config, str(directory))
    shape = family.shape_of(config)
    task.check_fits(replace(shape, labels=labels, head=output))
    kind = family.class_for(output)
    return read_model(
        getattr(transformers, kind),
        directory,
        fresh=family.fresh(kind),
        ignore_mismatched_sizes=True,
        **settings,
    )


def _loss(task: Task) -> Loss:
    described = Architecture(  # of the outputs alone
        vocabulary=1, hidden=1, operators=(), labels=len(task.label_names), head=task.output
    )

    hiding = Hiding(task) if task.output == "masked-language-model" else None

    def of(model: nn.Module, batch: Batch) -> Tensor:
        if hiding:
            batch = hiding(batch)
        taken = inspect.signature(model.forward).parameters  # some families have no token types
        inputs = {name: tensor for name, tensor in inputs_of(batch).items() if name in taken}
        if hiding:
            return _named(model, inputs, batch["labels"])
        found = model(**inputs)
        outputs = found.logits if "logits" in found else _both(found)
        return loss(described, outputs, batch["attention_mask"], batch["labels"])

    return of


def _named(model: Any, inputs: Batch, labels: Tensor) -> Tensor:
    """The mean cross-entropy of hidden words, the only ones that the vocabulary is multiplied with."""
    hidden = labels != IGNORED
    decoder: nn.Module = model.get_output_embeddings()
    handle = decoder.register_forward_pre_hook(lambda _, given: (given[0][hidden],))
    try:
        logits = model(**inputs).logits
    finally:
        handle.remove()
    return nn.functional.cross_entropy(single(logits), labels[hidden])


def _both(found: Any) -> Tensor:
    """Begin and end of an answer, side by side."""
    return torch.stack([found.start_logits, found.end_logits], -1)

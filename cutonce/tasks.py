"""Tasks as commands need them: with a model's own tokenizer, or as an artifact remembers them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deploy.task import Predict, Task
from devices.errors import ModelError
from devices.runtimes import Arrays
from elastic.families import LoadedModel

if TYPE_CHECKING:
    from torch import nn


def load_task(
    model: LoadedModel,
    *,
    kind: str,
    data: str | Path,
    text: str,
    text_pair: str | None,
    label: str | None,
    evaluation: str | Path | None,
    max_length: int,
    seed: int,
) -> Task:
    """The task, tokenised with the model's own tokenizer and numbered by its label names.

    Raises:
        ModelError: the model has no tokenizer, or one that does not fit it.
        DataError, UsageError: see Task.load.
    """
    if model.tokenizer is None:
        raise ModelError(
            f"{model.source} has no tokenizer; put its tokenizer.json and tokenizer_config.json beside "
            "its config.json."
        )
    architecture = model.encoder.architecture
    task = Task.load(
        kind=kind,
        data=data,
        text=text,
        text_pair=text_pair,
        label=label,
        evaluation=evaluation,
        tokenizer=model.tokenizer,
        labels=model.encoder.label_names if architecture.labels else None,
        max_length=min(max_length, architecture.positions),
        seed=seed,
    )
    task.check_fits(architecture)
    return task


def task_again(record: Mapping[str, Any] | None, tokenizer: Path) -> Task | None:
    """The same task with the tokenizer in ``tokenizer``; None where its files are not here.

    A hub data set is not fetched again: nothing touches the network unless the user names it.
    """
    if record is None:
        return None
    files = [record["data"], *filter(None, [record["evaluation"]])]
    if not all(Path(file).is_file() for file in files):
        return None
    return Task.load(
        kind=record["kind"],
        data=record["data"],
        text=record["text"],
        text_pair=record["text_pair"],
        label=record["label"],
        evaluation=record["evaluation"],
        tokenizer=tokenizer,
        labels=record["label_names"] or None,
        max_length=record["max_length"],
        seed=record["seed"],
    )


def predict_with(model: nn.Module) -> Predict:
    """A function from input arrays to ``model``'s logits, for Task.evaluate."""
    import torch

    def predict(inputs: Arrays) -> np.ndarray[Any, Any]:
        with torch.inference_mode():
            return model(**{k: torch.from_numpy(v) for k, v in inputs.items()}).float().numpy()

    return predict

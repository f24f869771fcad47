"""Tasks as commands need them: with a model's own tokenizer, or as an artifact remembers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deploy.kinds import kind_of
from deploy.task import Predict, Task
from devices.errors import ModelError, UsageError
from devices.runtimes import Arrays
from elastic.families import LoadedModel

if TYPE_CHECKING:
    from torch import nn


def load_task(
    model: LoadedModel,
    *,
    kind: str | None,
    data: str | Path,
    text: str,
    text_pair: str | None,
    label: str | None,
    evaluation: str | Path | None,
    max_length: int,
    seed: int,
) -> Task:
    """The task, tokenised with the model's own tokenizer and numbered by its label names.

    Args:
        kind: None stands for what the model is for.

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
        kind=kind or kind_of(architecture.output),
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


def task_again(
    record: Mapping[str, Any] | None,
    tokenizer: Path,
    labels: Sequence[str],
    output: str,
    **given: Any,
) -> Task | None:
    """The task that a sub-network or an artifact remembers, with what is ``given`` in its place.

    None where its files are not here: a hub data set is not fetched again either, since nothing
    touches the network unless the user names it.

    Args:
        labels: names of the model's outputs. output: what they mean.
        given: arguments of :func:`load_task`, None for those that stay as remembered.
    """
    known = dict(record or {})
    asked = {name: value for name, value in given.items() if value is not None}
    if "data" in asked:
        known.pop("evaluation", None)  # the remembered one goes with the remembered data
    elif not _here(known):
        return None
    wanted: dict[str, Any] = {name: known.get(name) for name in _REMEMBERED} | asked
    if wanted["text"] is None:
        raise UsageError("--data needs --text, the column with the text.")
    return Task.load(
        kind=wanted["kind"] or kind_of(output),
        data=wanted["data"],
        text=wanted["text"],
        text_pair=wanted["text_pair"],
        label=wanted["label"],
        evaluation=wanted["evaluation"],
        tokenizer=tokenizer,
        labels=labels or None,
        max_length=wanted["max_length"] or 128,
        seed=wanted["seed"] or 0,
    )


_REMEMBERED = (
    "kind", "data", "text", "text_pair", "label", "evaluation", "max_length", "seed",
)  # fmt: skip


def _here(record: Mapping[str, Any]) -> bool:
    files = [record.get("data"), record.get("evaluation")]
    return bool(files[0]) and all(Path(file).is_file() for file in files if file)


def predict_with(model: nn.Module) -> Predict:
    """A function from input arrays to ``model``'s logits, for Task.evaluate."""
    import torch

    def predict(inputs: Arrays) -> np.ndarray[Any, Any]:
        with torch.inference_mode():
            return model(**{k: torch.from_numpy(v) for k, v in inputs.items()}).float().numpy()

    return predict

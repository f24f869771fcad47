"""The teacher of a recipe: a dense encoder that knows its task, and what it says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch

from deploy.encoder import Encoder
from deploy.kinds import IGNORED
from deploy.task import Task
from devices.errors import UsageError
from devices.runtimes import Arrays
from elastic.outputs import choices, has_classes
from elastic.tensors import evaluating, tensors

EXAMPLES, BATCH = 512, 32
ERRORS = 2.0  # standard errors above chance


def check_teacher(encoder: Encoder, task: Task) -> None:
    """Raises UsageError where ``encoder`` cannot teach: the task has no labels, it answers no better than
    one answer for all, or its layers share their weights.

    Looks at some examples of the search split.
    """
    architecture = encoder.architecture
    if task.split("train").labels is None:
        raise UsageError("Training needs labels; name the column that holds them with --label.")
    if architecture.shares:
        raise UsageError(
            "The layers of this model share their weights, so there is nothing to train in a part of one "
            "layer alone; use `cutonce search`, or a model whose layers have weights of their own."
        )
    right, least = (_right if has_classes(architecture) else _explained)(encoder, task)
    if right <= least:
        raise UsageError(
            f"The model's answers are no better than one answer for all ({right:.3g}, where "
            f"{least:.3g} is chance): its head was never trained on this task. Fine-tune it first with "
            "`cutonce train MODEL --recipe dense`."
        )


def labelled_batches(
    task: Task, split: str, limit: int | None = None
) -> tuple[list[Arrays], list[np.ndarray]]:
    """Inputs as Task.batches gives them, and of every batch the labels as Split.labels_of does."""
    rows = task.order(split, limit).tolist()
    starts = range(0, len(rows), BATCH)
    labels = [task.split(split).labels_of(rows[start : start + BATCH]) for start in starts]
    return task.batches(split, BATCH, limit), labels


def _right(encoder: Encoder, task: Task) -> tuple[float, float]:
    """The share of choices that are right, and what the most frequent one alone may come to."""
    answers, labels = [], []
    for outputs, mask, wanted in _answers(encoder, task):
        found, _ = choices(encoder.architecture, outputs, mask)
        scored = wanted != IGNORED
        answers.append(found.argmax(-1).flatten().numpy()[scored])
        labels.append(wanted[scored])
    label = np.concatenate(labels)
    [(_, most)] = Counter(label.tolist()).most_common(1)
    share = most / len(label)
    error = math.sqrt(share * (1 - share) / len(label))
    return float((np.concatenate(answers) == label).mean()), share + ERRORS * error


def _explained(encoder: Encoder, task: Task) -> tuple[float, float]:
    """The correlation with the labels, and what chance may come to."""
    pairs = [
        (outputs.squeeze(-1).numpy(), wanted) for outputs, _, wanted in _answers(encoder, task)
    ]
    found, wanted = (np.concatenate(some) for some in zip(*pairs, strict=True))
    if found.std() == 0 or wanted.std() == 0:
        return 0.0, 0.0
    return float(np.corrcoef(found, wanted)[0, 1]), ERRORS / math.sqrt(len(found))


def _answers(
    encoder: Encoder, task: Task
) -> Iterator[tuple[torch.Tensor, torch.Tensor, np.ndarray]]:
    """Per batch the outputs, the mask [batch, sequence], and the labels of all choices, flat."""
    with evaluating(encoder), torch.inference_mode():
        for batch, labels in zip(*labelled_batches(task, "search", EXAMPLES), strict=True):
            inputs = tensors(batch, encoder)
            yield encoder(**inputs).cpu(), inputs["attention_mask"].cpu(), labels.flatten()

"""Distil the dense model into a sub-network of it.

Source: Hinton et al. 2015 (arXiv 1503.02531): the student matches the teacher's softened outputs,

    loss = (1 − α) · T² · KL(teacher ‖ student at temperature T) + α · cross-entropy(labels),

plus, as in patient distillation (arXiv 1908.09355), the distance of the first token's last states,
which the two models' heads read. What the teacher says is computed once, before training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deploy.encoder import Encoder
from deploy.task import Task
from devices.errors import UsageError
from devices.runtimes import Arrays
from elastic.recipes.training import Batch, Progress, fit, inputs_of
from elastic.tensors import divergence, evaluating, tensors

TEMPERATURE = 2.0
ALPHA = 0.1  # weight of the labels, which the teacher has learnt from already
STATES = 1.0  # weight of the first token's states


def distil(
    student: Encoder,
    lesson: Lesson,
    *,
    epochs: float = 2.0,
    learning_rate: float | None = None,
    batch_size: int = 32,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Train ``student`` in place towards the lesson's teacher on its task's train split.

    Args:
        learning_rate: None means 5e-5 at hidden size 768, and more for narrower models in inverse
            proportion.
        out: for checkpoints, which an interrupted training goes on from.
        progress: called with (steps done, total).

    Raises:
        UsageError: student and teacher have different hidden sizes or labels.
    """
    mine, theirs = student.architecture, lesson.teacher
    if (mine.hidden, mine.labels) != (theirs.hidden, theirs.labels):
        raise UsageError(
            f"A student of hidden size {mine.hidden} with {mine.labels} labels cannot follow a "
            f"teacher of {theirs.hidden} with {theirs.labels}; cut the student from this teacher."
        )
    fit(
        student,
        lesson.task,
        loss=lesson,
        epochs=epochs,
        learning_rate=learning_rate or 5e-5 * 768 / mine.hidden,
        batch_size=batch_size,
        seed=seed,
        out=out,
        progress=progress,
    )


class Lesson:
    """What a teacher says on every training example, and the loss against it.

    Made once, it serves any number of students.
    """

    def __init__(self, teacher: Encoder, task: Task) -> None:
        self.task, self.teacher = task, teacher.architecture
        # The first token's states hold all that the head reads; half precision halves the memory.
        self.states = torch.from_numpy(task.logits(_first_states(teacher), "train")).half()
        with evaluating(teacher), torch.inference_mode():
            device = next(teacher.parameters()).device
            parts = [teacher.pool(p.float().to(device)[:, None]) for p in self.states.split(4096)]
        self.logits = torch.cat(parts).cpu().clone()

    def __call__(self, student: Encoder, batch: Batch) -> Tensor:
        index = batch["index"].cpu()
        encoded = student.encode(**inputs_of(batch))
        logits = student.pool(encoded)
        wanted = self.logits[index].to(logits)
        loss = STATES * (encoded[:, 0] - self.states[index].to(logits)).square().mean()
        labels = self.teacher.labels
        soft = TEMPERATURE**2 * divergence(labels, wanted, logits, TEMPERATURE).mean()
        if labels < 2 or "labels" not in batch:
            return loss + soft
        hard = nn.functional.cross_entropy(logits, batch["labels"])
        return loss + (1 - ALPHA) * soft + ALPHA * hard


def _first_states(teacher: Encoder) -> Any:
    def predict(batch: Arrays) -> np.ndarray[Any, Any]:
        with evaluating(teacher), torch.inference_mode():
            states = teacher.encode(**tensors(batch, teacher))[:, 0]
            return states.float().cpu().numpy()

    return predict

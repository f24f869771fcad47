"""Distil the dense model into a sub-network of it.

Source: Hinton et al. 2015 (arXiv 1503.02531): the student matches the teacher's softened outputs,

    loss = (1 − α) · T² · KL(teacher ‖ student at temperature T) + α · cross-entropy(labels),

plus, as in patient distillation (arXiv 1908.09355), the distance of the first token's last states,
which the two models' heads read. What the teacher says is computed once, before training.

A student may be as good as it gets before: the teacher is surer on what it was trained on than on other
texts, and that is learnt too. Weights are therefore kept as they were unless they become better on the
search split (elastic.quality).
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deploy.encoder import Encoder
from deploy.task import Task
from devices.errors import UsageError
from devices.runtimes import Arrays
from elastic.outputs import divergence, has_classes, loss
from elastic.quality import Quality, label_losses
from elastic.recipes.training import Batch, Progress, fit, inputs_of
from elastic.tensors import evaluating, tensors

TEMPERATURE = 2.0
ALPHA = 0.1  # weight of the labels, which the teacher has learnt from already
LEARNING_RATE = 3e-5  # at hidden size 768
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
) -> bool:
    """Train ``student`` in place towards the lesson's teacher on its task's train split; whether that
    made it better on the search split, without which it is left as it was.

    Args:
        learning_rate: None means 3e-5 at hidden size 768, and more for narrower models in inverse
            proportion.
        out: for checkpoints, which an interrupted training goes on from.
        progress: called with (steps done, total).

    Raises:
        UsageError: student and teacher have different hidden sizes or labels.
    """
    mine, theirs = student.architecture, lesson.teacher
    if (mine.hidden, mine.output, mine.labels) != (theirs.hidden, theirs.output, theirs.labels):
        raise UsageError(
            f"A student of hidden size {mine.hidden} for {mine.output} with {mine.labels} labels cannot "
            f"follow a teacher of {theirs.hidden} for {theirs.output} with {theirs.labels}; cut the "
            "student from this teacher."
        )
    was, before = copy.deepcopy(student.state_dict()), lesson.quality(student)
    fit(
        student,
        lesson.task,
        loss=lesson,
        epochs=epochs,
        learning_rate=learning_rate or LEARNING_RATE * 768 / mine.hidden,
        batch_size=batch_size,
        seed=seed,
        out=out,
        progress=progress,
    )
    better = lesson.quality(student).better_than(before)
    if not better:
        student.load_state_dict(was)
    return better


class Lesson:
    """What a teacher says on every training example, and the loss against it.

    Made once, it serves any number of students.
    """

    def __init__(self, teacher: Encoder, task: Task) -> None:
        self.task, self.teacher, self._encoder = task, teacher.architecture, teacher
        self._known = None if self.teacher.reads_all else _first_states(teacher, task)

    def __call__(self, student: Encoder, batch: Batch) -> Tensor:
        inputs, labels = inputs_of(batch), batch.get("labels")
        mask = inputs["attention_mask"]
        states, wanted = self._said(batch)
        encoded = student.encode(**inputs)
        outputs = student.head(encoded, mask)
        if self._known is None:
            real = mask.bool()
            distance = (encoded[real] - states[real]).square().mean()
        else:
            distance = (encoded[:, 0] - states).square().mean()
        apart = divergence(self.teacher, wanted, outputs, mask, TEMPERATURE).mean()
        soft = TEMPERATURE**2 * apart
        if labels is None or not has_classes(self.teacher):
            return STATES * distance + soft
        hard = loss(self.teacher, outputs, mask, labels)
        return STATES * distance + (1 - ALPHA) * soft + ALPHA * hard

    def quality(self, student: Encoder) -> Quality:
        """The student's on the search split."""
        return Quality(self._apart(student), label_losses(student, student.architecture, self.task))

    def _apart(self, student: Encoder) -> float:
        """The student's mean divergence from the teacher on the search split, in nats per example."""
        teacher = self._encoder.to(next(student.parameters()).device)
        total, count = 0.0, 0
        with evaluating(student), evaluating(teacher), torch.inference_mode():
            for batch in self.task.batches("search"):
                inputs = tensors(batch, student)
                said, mask = teacher(**inputs), inputs["attention_mask"]
                found = divergence(self.teacher, said, student(**inputs), mask)
                total, count = total + float(found.sum()), count + len(found)
        return total / count

    def _said(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The teacher's states, of the first token where the head reads no other, and its outputs."""
        device = batch["input_ids"].device
        teacher = self._encoder.to(device)
        with evaluating(teacher), torch.no_grad():
            if self._known is None:
                states = teacher.encode(**inputs_of(batch))
                return states, teacher.head(states, batch["attention_mask"])
            states = self._known[batch["index"].cpu()].to(device).float()
            return states, teacher.head(states[:, None], batch["attention_mask"])


def _first_states(teacher: Encoder, task: Task) -> Tensor:
    """The first token's last states of every training example [n, hidden], which hold all that the head
    reads; half precision halves the memory."""

    def predict(batch: Arrays) -> np.ndarray[Any, Any]:
        with evaluating(teacher), torch.inference_mode():
            states = teacher.encode(**tensors(batch, teacher))[:, 0]
            return states.half().cpu().numpy()

    return torch.from_numpy(np.stack(task.outputs(predict, "train")))

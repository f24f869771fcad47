"""A training of several stages, each with an optimiser and a schedule of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from torch import nn

from deploy.task import Task
from devices.errors import UsageError
from elastic.recipes.training import Loss, Progress, fit, steps


@dataclass(frozen=True)
class Stage:
    """What :func:`~elastic.recipes.training.fit` is called with.

    Attributes:
        name: of the directory of its checkpoints.
        epochs: 0 leaves it out.
    """

    name: str
    epochs: float
    learning_rate: float
    warm_up: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "linear"


class Stages:
    """Runs them one after the other; what had ended before an interruption is not run again.

    Args:
        out: for checkpoints, a directory for each stage.
        progress: called with (steps done, total) of all stages.

    Raises:
        UsageError: there is nothing to train.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        task: Task,
        *,
        batch_size: int,
        seed: int,
        out: Path | None,
        progress: Progress | None,
    ) -> None:
        self._task, self._batch_size, self._seed = task, batch_size, seed
        self._out, self._progress = out, progress
        counts = [steps(task, stage.epochs, batch_size) for stage in stages]
        self._total = sum(counts)
        if min(counts) < 0 or not self._total:
            raise UsageError(f"Epochs must be above 0, not {max(s.epochs for s in stages):g}.")
        self._left = list(enumerate(zip(stages, accumulate(counts, initial=0), strict=False)))

    def run(self, model: nn.Module, loss: Loss, observe: Callable[[], None] | None = None) -> None:
        """The next stage, as :func:`~elastic.recipes.training.fit`."""
        number, (stage, before) = self._left.pop(0)
        if not stage.epochs:
            return
        fit(
            model,
            self._task,
            loss=loss,
            epochs=stage.epochs,
            learning_rate=stage.learning_rate,
            batch_size=self._batch_size,
            seed=self._seed + number,
            warm_up=stage.warm_up,
            weight_decay=stage.weight_decay,
            schedule=stage.schedule,
            out=None if self._out is None else self._out / stage.name,
            progress=self._after(before),
            observe=observe,
        )

    def _after(self, before: int) -> Progress | None:
        progress = self._progress
        if progress is None:
            return None
        return lambda done, _: progress(before + done, self._total)

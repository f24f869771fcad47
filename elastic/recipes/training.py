"""One training loop for every recipe: transformers' Trainer, silent, resumable, in one process or many.

Recipes compute their losses with parts of a model, past its own forward, and several of one batch. So
no wrapper shares the gradients of the processes; they are brought together once they are complete
(elastic.recipes.processes).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.integrations import TensorBoardCallback

from deploy.task import Task
from devices.errors import MissingDependency, ModelError, UsageError
from devices.fingerprint import local_fingerprint
from devices.runtimes import INPUTS
from elastic.quiet import quiet
from elastic.recipes.loading import train_loader
from elastic.recipes.processes import mean, processes, share_gradients, share_weights

Batch = dict[str, Tensor]
"""A process's share of a batch: ``input_ids``, ``attention_mask``, ``token_type_ids`` int64 [share,
sequence]; ``index`` [share], the examples' places in the train split; ``weight`` float64 [share], how
many examples of the batch each stands for; ``tokens`` float [share], all the same, what a mean over the
share's tokens counts for beside one over its examples, in the batch; ``labels`` as Split.labels_of, where
the task has labels."""

Loss = Callable[[Any, Batch], Tensor | Iterator[Tensor]]
"""Of one batch: a scalar, or several whose gradients are added up, each backpropagated before the next
is computed."""

Progress = Callable[[int, int], None]

WARM_UP = 0.06  # share of the steps
WEIGHT_DECAY = 0.01
CHECKPOINTS = 10  # per training
LOGGED = 10  # steps, after which the mean loss is written for TensorBoard
TENSORBOARD = "TENSORBOARD_LOGGING_DIR"  # as transformers calls it
MIXED_PRECISION = "ACCELERATE_MIXED_PRECISION"  # as `accelerate launch --mixed_precision` sets it


def fit(
    model: nn.Module,
    task: Task,
    *,
    loss: Loss,
    epochs: float,
    learning_rate: float,
    batch_size: int,
    seed: int,
    warm_up: float = WARM_UP,
    weight_decay: float = WEIGHT_DECAY,
    schedule: str = "linear",
    out: Path | None = None,
    progress: Progress | None = None,
    observe: Callable[[], None] | None = None,
) -> None:
    """Train ``model`` in place on the task's train split; left in evaluation mode.

    AdamW, batches of similar lengths. Where `accelerate launch` started several processes, they train it
    together, and all are given the same result: that of one process, to rounding, where labels are of
    texts; the labels of tokens weigh alike in a share, of which each process has one. Products are in
    bf16 where the hardware multiplies it, or as accelerate is told. Where TENSORBOARD_LOGGING_DIR names
    a directory, losses and learning rates are written there for TensorBoard.

    Args:
        loss: of one batch; calls the model itself.
        epochs: may be a fraction.
        batch_size: of all processes together.
        warm_up: share of the steps. schedule: of the learning rate after it, as transformers names it.
        out: checkpoints go to ``out/checkpoints``, and training goes on from the last one there; where
            it had ended there, the model is given its weights.
        progress: called with (steps done, total).
        observe: called when the gradients of a step are complete, before they are clipped.

    Raises:
        UsageError: epochs, learning rate or batch size are not positive, or there are more processes than
            examples in a batch.
        ModelError: the training diverges: a loss is not a number.
        MissingDependency: accelerate is not installed, or TensorBoard where it is asked for.
    """
    _require_positive(epochs=epochs, learning_rate=learning_rate, batch_size=batch_size)
    _require_examples(batch_size, processes().num_processes)
    device = next(model.parameters()).device
    checkpoints = None if out is None else out / "checkpoints"
    place = os.environ.get(TENSORBOARD)
    # The Trainer makes its output directory even where it is told to save nothing.
    with quiet(), TemporaryDirectory() as scratch:
        trainer = _Trainer(
            loss,
            train_loader(task, batch_size, seed),
            observe,
            model=model,
            args=TrainingArguments(
                output_dir=str(checkpoints or scratch),
                save_strategy="no" if checkpoints is None else "steps",
                num_train_epochs=epochs,
                learning_rate=learning_rate,
                seed=seed,
                warmup_steps=warm_up,
                weight_decay=weight_decay,
                lr_scheduler_type=schedule,
                logging_strategy="steps" if place else "no",
                logging_steps=LOGGED,
                **_unchanging(),
            ),
            callbacks=[
                *(_writers(place, "" if out is None else out.name) if place else []),
                *([_Reporter(progress)] if progress else []),
            ],
        )
        share_weights(model)
        trainer.remove_callback(PrinterCallback)  # it writes to stdout
        last = _last_checkpoint(checkpoints)
        if last is not None and _step(last) >= steps(task, epochs, batch_size):
            trainer._load_from_checkpoint(str(last))
        else:
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
        processes().wait_for_everyone()  # until each has written its part of the last checkpoint
    model.to(device).eval()


def steps(task: Task, epochs: float, batch_size: int) -> int:
    """That :func:`fit` takes."""
    return math.ceil(epochs * math.ceil(len(task.split("train")) / batch_size))


def inputs_of(batch: Batch) -> Batch:
    """What the model is called with."""
    return {name: batch[name] for name in INPUTS}


class _Trainer(Trainer):
    def __init__(
        self,
        loss: Loss,
        batches: DataLoader[Batch],
        observe: Callable[[], None] | None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise UsageError(
                "Every process trains with the whole model; launch without FSDP and DeepSpeed."
            )
        self._loss, self._batches, self._observe = loss, batches, observe
        # Without DistributedDataParallel, which knows of calls of the model's own forward only.
        self.accelerator.prepare_model = partial(
            self.accelerator.prepare_model, evaluation_mode=True
        )

    def get_train_dataloader(self) -> DataLoader[Batch]:
        return self._batches

    def training_step(
        self,
        model: nn.Module,  # noqa: ARG002
        inputs: Batch,
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Tensor:
        self.model.train()
        # What is drawn for a batch is the same in every process, whatever each has drawn before.
        torch.manual_seed(_mixed(self.args.seed, self.state.global_step))
        batch = self._prepare_inputs(inputs)
        examples = len(batch["index"])
        total = torch.zeros((), device=self.args.device)
        parts = self._parts(batch)
        while (loss := self._next(parts)) is not None:
            found = mean(loss.detach(), examples)
            if not found.isfinite():  # which every process sees at the same time
                raise self._diverged(found)
            self.accelerator.backward(loss)
            total += found
        share_gradients(self.model.parameters(), examples)
        if self._observe is not None:
            self._observe()
        return total

    def _diverged(self, loss: Tensor) -> ModelError:
        return ModelError(
            f"The training diverges: at step {self.state.global_step} of {self.state.max_steps} the loss "
            f"is {loss.item()}; lower --learning-rate, now {self.args.learning_rate:g}, or check the "
            "model's weights."
        )

    def _parts(self, batch: Batch) -> Iterator[Tensor]:
        found = self._loss(self.model, batch)
        yield from [found] if isinstance(found, Tensor) else found

    def _next(self, parts: Iterator[Tensor]) -> Tensor | None:
        with (
            self.accelerator.autocast()
        ):  # which wraps the model's own forward by itself, and no view
            return next(parts, None)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if not isinstance(self.model, PreTrainedModel):
            state_dict = _apart(self.model.state_dict())
        super()._save(output_dir, state_dict)


class _Reporter(TrainerCallback):
    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self.progress(state.global_step, state.max_steps)


def _apart(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """With a copy of what is another entry's very memory, as tied weights are; safetensors wants that."""
    known: set[int] = set()
    found = {}
    for name, tensor in state.items():
        found[name] = tensor.clone() if tensor.data_ptr() in known else tensor
        known.add(tensor.data_ptr())
    return found


def _writers(place: str, name: str) -> list[TrainerCallback]:
    """What writes for TensorBoard, in the main process; ``name`` is of the stage."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingDependency(
            f'{TENSORBOARD} is set, which needs TensorBoard: pip install "cutonce[tensorboard]".'
        ) from None
    if not processes().is_main_process:
        return []
    return [TensorBoardCallback(SummaryWriter(str(Path(place).expanduser() / name)))]


def _mixed(seed: int, step: int) -> int:
    """A seed for every step, far from those of other steps and seeds."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])


def _unchanging() -> dict[str, Any]:
    """Trainer settings that every training has: precision, saving, silence."""
    gpu = torch.cuda.is_available()
    return {
        "bf16": MIXED_PRECISION not in os.environ and _multiplies_bf16(gpu),
        "use_cpu": not gpu,
        "remove_unused_columns": False,
        "save_steps": 1 / CHECKPOINTS,
        "save_total_limit": 1,
        "report_to": "none",
        "log_level_replica": "passive",  # as quiet as the main process
        "disable_tqdm": True,
    }


def _multiplies_bf16(gpu: bool) -> bool:
    """Whether the hardware does by itself, and so about twice as fast as in single precision."""
    if gpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(local_fingerprint().flags)


def _last_checkpoint(directory: Path | None) -> Path | None:
    """The latest whole checkpoint; its trainer_state.json is what the Trainer writes last."""
    if directory is None or not directory.is_dir():
        return None
    for path in sorted(directory.glob("checkpoint-*"), key=_step, reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text())
        except (OSError, ValueError):
            continue
        return path
    return None


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise UsageError(f"{name.replace('_', ' ').capitalize()} must be above 0, not {value}.")


def _require_examples(batch_size: int, count: int) -> None:
    if batch_size < count:
        raise UsageError(
            f"A batch of {batch_size} cannot be shared among {count} processes; raise --batch-size, "
            "which counts the examples of all of them."
        )

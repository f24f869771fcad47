"""One training loop for every recipe: transformers' Trainer, silent, resumable, by length."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.integrations import TensorBoardCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from deploy.task import Split, Task
from devices.errors import MissingDependency, ModelError, UsageError
from devices.runtimes import INPUTS
from elastic.quiet import quiet

Batch = dict[str, Tensor]
"""``input_ids``, ``attention_mask``, ``token_type_ids`` int64 [batch, sequence]; ``index`` [batch],
the examples' places in the train split; ``labels`` as Split.labels_of, where the task has labels."""

Loss = Callable[[Any, Batch], Tensor | Iterator[Tensor]]
"""Of one batch: a scalar, or several whose gradients are added up, each backpropagated before the next
is computed."""

Progress = Callable[[int, int], None]

WARM_UP = 0.06  # share of the steps
WEIGHT_DECAY = 0.01
CHECKPOINTS = 10  # per training
LOGGED = 10  # steps, after which the mean loss is written for TensorBoard
TENSORBOARD = "TENSORBOARD_LOGGING_DIR"  # as transformers calls it


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
) -> None:
    """Train ``model`` in place on the task's train split; left in evaluation mode.

    AdamW, batches of similar lengths. Where TENSORBOARD_LOGGING_DIR names a directory, losses and
    learning rates are written there for TensorBoard.

    Args:
        loss: of one batch; calls the model itself.
        epochs: may be a fraction.
        warm_up: share of the steps. schedule: of the learning rate after it, as transformers names it.
        out: checkpoints go to ``out/checkpoints``, and training goes on from the last one there; where
            it had ended there, the model is given its weights.
        progress: called with (steps done, total).

    Raises:
        UsageError: epochs, learning rate or batch size are not positive.
        ModelError: the training diverges: a loss is not a number.
        MissingDependency: accelerate is not installed, or TensorBoard where it is asked for.
    """
    _require_positive(epochs=epochs, learning_rate=learning_rate, batch_size=batch_size)
    _require_accelerate()
    split = task.split("train")
    device = next(model.parameters()).device
    checkpoints = None if out is None else out / "checkpoints"
    writers = _writers("" if out is None else out.name)
    # The Trainer makes its output directory even where it is told to save nothing.
    with quiet(), TemporaryDirectory() as scratch:
        trainer = _Trainer(
            loss,
            split.tokens.lengths.tolist(),
            model=model,
            args=TrainingArguments(
                output_dir=str(checkpoints or scratch),
                save_strategy="no" if checkpoints is None else "steps",
                num_train_epochs=epochs,
                learning_rate=learning_rate,
                per_device_train_batch_size=batch_size,
                seed=seed,
                warmup_steps=warm_up,
                weight_decay=weight_decay,
                lr_scheduler_type=schedule,
                logging_strategy="steps" if writers else "no",
                logging_steps=LOGGED,
                **_unchanging(),
            ),
            train_dataset=_Numbers(len(split)),
            data_collator=_Collator(split, task.pad_id),
            callbacks=[*writers, *([_Reporter(progress)] if progress else [])],
        )
        trainer.remove_callback(PrinterCallback)  # it writes to stdout
        last = _last_checkpoint(checkpoints)
        if last is not None and _step(last) >= steps(task, epochs, batch_size):
            trainer._load_from_checkpoint(str(last))
        else:
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
    model.to(device).eval()


def steps(task: Task, epochs: float, batch_size: int) -> int:
    """That :func:`fit` takes."""
    return math.ceil(epochs * math.ceil(len(task.split("train")) / batch_size))


def inputs_of(batch: Batch) -> Batch:
    """What the model is called with."""
    return {name: batch[name] for name in INPUTS}


class _Numbers(Dataset[int]):
    """The places of the examples; the collator makes the batch from them."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


class _Collator:
    def __init__(self, split: Split, pad_id: int) -> None:
        self.split, self.pad_id = split, pad_id

    def __call__(self, rows: list[int]) -> Batch:
        arrays = self.split.tokens.padded(rows, self.pad_id)
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        batch["index"] = torch.tensor(rows)
        if self.split.labels is not None:
            batch["labels"] = torch.from_numpy(self.split.labels_of(rows))
        return batch


class _Trainer(Trainer):
    def __init__(self, loss: Loss, lengths: list[int], **settings: Any) -> None:
        super().__init__(**settings)
        self._loss, self._lengths = loss, lengths

    def training_step(
        self,
        model: nn.Module,  # noqa: ARG002
        inputs: Batch,
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Tensor:
        # Losses call more of the model than its forward, so they are given it without wrappers.
        self.model.train()
        total = torch.zeros((), device=self.args.device)
        parts = self._parts(self._prepare_inputs(inputs))
        while (loss := self._next(parts)) is not None:
            if not loss.isfinite():
                raise ModelError(
                    f"The training diverges: at step {self.state.global_step} of "
                    f"{self.state.max_steps} the loss is {loss.item()}; lower --learning-rate, now "
                    f"{self.args.learning_rate:g}, or check the model's weights."
                )
            self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _parts(self, batch: Batch) -> Iterator[Tensor]:
        found = self._loss(self.model, batch)
        yield from [found] if isinstance(found, Tensor) else found

    def _next(self, parts: Iterator[Tensor]) -> Tensor | None:
        with self.compute_loss_context_manager():
            return next(parts, None)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if not isinstance(self.model, PreTrainedModel):
            state_dict = _apart(self.model.state_dict())
        super()._save(output_dir, state_dict)

    def _get_train_sampler(self, _: Any = None) -> Sampler[int]:
        return _ByLength(self.args.train_batch_size, self._lengths, self.args.seed)


class _ByLength(LengthGroupedSampler):
    """Shuffled batches of similar lengths, in an order that seed and epoch alone decide, so that an
    interrupted training goes on with exactly the batches that were still to come."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """The Trainer calls this before every epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()


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


def _writers(name: str) -> list[TrainerCallback]:
    """What writes for TensorBoard; ``name`` is of the stage."""
    place = os.environ.get(TENSORBOARD)
    if not place:
        return []
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingDependency(
            f'{TENSORBOARD} is set, which needs TensorBoard: pip install "cutonce[tensorboard]".'
        ) from None
    writer = SummaryWriter(str(Path(place).expanduser() / name))
    return [TensorBoardCallback(writer)]


def _unchanging() -> dict[str, Any]:
    """Trainer settings that every training has: precision, saving, silence."""
    gpu = torch.cuda.is_available()
    return {
        "bf16": gpu and torch.cuda.is_bf16_supported(including_emulation=False),
        "use_cpu": not gpu,
        "dataloader_pin_memory": gpu,
        "remove_unused_columns": False,
        "save_steps": 1 / CHECKPOINTS,
        "save_total_limit": 1,
        "report_to": "none",
        "disable_tqdm": True,
    }


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


def _require_accelerate() -> None:
    from transformers.utils import is_accelerate_available

    if not is_accelerate_available():
        raise MissingDependency('Training needs accelerate: pip install "cutonce[train]".')

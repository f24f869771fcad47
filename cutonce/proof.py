"""The proofs that an artifact carries, and that `cutonce verify` takes again."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy.encoder import Encoder
from deploy.exporters import Exported
from deploy.parity import ParityReport, Reference
from deploy.task import Task
from deploy.workload import Workload
from devices.device import open_device
from devices.runtimes import Arrays
from devices.target import Target

PARITY_EXAMPLES = 64
AT_ONCE = 16  # texts, which ExecuTorch's programs take at most


def new_campaign(command: str) -> str:
    """The name of a campaign of its own, so that what it measures is measured anew."""
    return f"{command}/{secrets.token_hex(6)}"


@dataclass(frozen=True)
class Subject:
    """An exported file, where it runs, and the encoder that it must agree with."""

    encoder: Encoder
    target: Target
    exported: Exported
    workload: Workload


def reference(encoder: Encoder, task: Task | None) -> Reference:
    """What exports of ``encoder`` have to answer, to real texts, too, where there is a task."""
    batches = task.batches("report", batch_size=8, limit=PARITY_EXAMPLES) if task else None
    return Reference(encoder, batches)


def parity(subject: Subject, wanted: Reference) -> ParityReport:
    """The parity gate."""
    return wanted.check(open_device(subject.target.device), subject.target, subject.exported)


def _parts(batch: Arrays) -> list[Arrays]:
    """A batch in parts that a file of every format takes at once."""
    starts = range(0, len(batch["input_ids"]), AT_ONCE)
    return [{name: some[at : at + AT_ONCE] for name, some in batch.items()} for at in starts]


def metrics(subject: Subject, task: Task, split: str = "report") -> dict[str, float]:
    """The task's metrics on one split, answered by the exported file in a fresh process."""
    parts = [part for batch in task.batches(split) for part in _parts(batch)]
    target = subject.target
    answers = iter(
        open_device(target.device).run(
            target.runtime, subject.exported.path, target.precision, target.threads, parts
        )
    )

    def answer(inputs: Arrays) -> np.ndarray[Any, Any]:
        # Asked for batch by batch, in the order that they were run in.
        return np.concatenate([next(answers)[0] for _ in _parts(inputs)])

    return task.evaluate(answer, split)

"""Which of two networks is better, where both come from one dense model.

A sub-network is to answer as the dense model does, and how far it is from it is known exactly. What was
trained may be better where it answers otherwise, which labels tell, but from few examples and with noise.
So they decide where they tell the two apart, by two standard errors; else the divergence does.

How sure a network is counts for nothing there: a dense model that learnt its few texts by heart is too
sure, and whatever blurs it loses less. Outputs are scaled before, to lose least (temperature scaling, Guo
et al. 2017, arXiv 1706.04599); numbers by the line that fits them best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from deploy.architecture import Architecture
from deploy.task import Task
from elastic.outputs import has_classes, losses
from elastic.tensors import evaluating, tensors

Array = np.ndarray[Any, Any]

TELLING = 2.0  # standard errors of a difference, from which on labels decide
SCALES = np.geomspace(1 / 8, 8, 13).tolist()  # of the outputs


@dataclass(frozen=True)
class Quality:
    """What is known of one network.

    Attributes:
        apart: its mean divergence from the dense model, in nats per example.
        label_losses: per example, of the same ones for all networks, in nats; None without labels.
    """

    apart: float
    label_losses: Array | None

    def better_than(self, other: Quality) -> bool:
        """By the labels where they tell; else by the divergence."""
        if self.label_losses is not None and other.label_losses is not None:
            more = self.label_losses - other.label_losses
            if abs(more.mean()) > TELLING * more.std() / np.sqrt(len(more)):
                return bool(more.mean() < 0)
        return self.apart < other.apart


def label_losses(network: nn.Module, architecture: Architecture, task: Task) -> Array | None:
    """What ``network``, scaled, loses against the labels of the search split, per example in the order of
    :meth:`~deploy.task.Task.order`; None without labels."""
    split, order = task.split("search"), iter(task.order("search").tolist())
    if split.labels is None:
        return None
    found = []
    with evaluating(network), torch.inference_mode():
        for batch in task.batches("search"):
            inputs = tensors(batch, network)
            outputs, mask = network(**inputs), inputs["attention_mask"]
            labels = split.labels_of([next(order) for _ in range(len(outputs))])
            wanted = torch.from_numpy(labels).to(outputs.device)
            if has_classes(architecture):
                some = losses(architecture, outputs, mask, wanted, SCALES)
            else:
                some = torch.stack([outputs.flatten(), wanted.flatten()])
            found.append(some.double().cpu())
    rows: Array = torch.cat(found, 1).numpy()
    return min(rows, key=np.mean) if has_classes(architecture) else _left(*rows)


def _left(said: Array, wanted: Array) -> Array:
    """Half the squared distance that is left by the line of least squares, which is level where what is
    said never changes."""
    spread = said.var()
    slope = ((said - said.mean()) * wanted).mean() / spread if spread > 0 else 0.0
    return 0.5 * np.square(wanted - wanted.mean() - slope * (said - said.mean()))

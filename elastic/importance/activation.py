"""Activation norm: how much every unit adds to the residual stream, over the tokens of real texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deploy.encoder import Encoder
from devices.runtimes import Arrays
from elastic.importance.likelihood import Labels, Likelihood
from elastic.masks import gathering
from elastic.space import size_of
from elastic.tensors import evaluating, tensors


def activation(
    encoder: Encoder, batches: Sequence[Arrays], *, seed: int = 0, labels: Labels | None = None
) -> list[np.ndarray[Any, Any]]:
    """E‖W_u x_u‖² of every head and neuron: float64 [heads] or [width] per position.

    x_u is the unit's output and W_u the columns that read it; of a neuron this is E[x²] ‖w‖², the
    representational score of K-prune (arXiv 2308.03449). Padding does not count.

    Raises UsageError as every importance does; ``labels`` are not looked at.
    """
    Likelihood(encoder, batches, seed, labels)
    sizes = [size_of(operator) for operator in encoder.architecture.operators]
    totals = [np.zeros(size) for size in sizes]
    tokens = 0
    with evaluating(encoder), torch.inference_mode():
        for batch in batches:
            inputs = tensors(batch, encoder)
            real = inputs["attention_mask"].bool()
            tokens += int(real.sum())
            with ExitStack() as stack:
                for layer, total in zip(encoder.operators, totals, strict=True):
                    linear = gathering(layer)
                    handle = linear.register_forward_pre_hook(_adding(total, real))
                    stack.callback(handle.remove)
                encoder.encode(**inputs)
    return [total / tokens for total in totals]


def _adding(total: np.ndarray[Any, Any], real: Tensor) -> Callable[[nn.Module, Any], None]:
    """A hook that adds to ``total`` the squared norms of what each unit contributes."""

    def add(linear: nn.Module, inputs: tuple[Tensor]) -> None:
        outputs = inputs[0][real].double().unflatten(-1, (len(total), -1))  # [tokens, units, inner]
        read = linear.weight.double().T.unflatten(0, (len(total), -1))  # [units, inner, hidden]
        gram = read @ read.transpose(1, 2)  # [units, inner, inner]
        second = torch.einsum("tui,tuj->uij", outputs, outputs)
        np.add(total, (gram * second).sum((1, 2)).cpu().numpy(), out=total)

    return add

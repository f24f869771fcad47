"""Second moments of a dense encoder: of what each sub-layer's units give, and of the loss' gradients."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deploy.encoder import Encoder
from devices.runtimes import Arrays
from elastic.importance.likelihood import Likelihood
from elastic.masks import gathering
from elastic.outputs import last_mixing
from elastic.reconstruction.elimination import damped
from elastic.tensors import evaluating, tensors

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Moments:
    """Of one sub-layer, over the tokens that matter; padding never does.

    Attributes:
        gram: E[u uᵀ] of what its units give and a constant 1, float64 [inputs + 1] squared.
        curvature: E[g gᵀ] of g = ∂ log p(y|x) / ∂ what it adds, float64 [hidden] squared.
    """

    gram: Array
    curvature: Array

    def reordered(self, columns: Array) -> Moments:
        """Its units in the order of ``columns``, and a Gram matrix that can be inverted."""
        index = np.append(columns, len(self.gram) - 1)
        return Moments(damped(self.gram[np.ix_(index, index)]), self.curvature)

    @property
    def covariance(self) -> Array:
        """Of what the units give, [inputs] squared: what a free bias leaves to explain.

        Of a single token that is nothing but rounding, of either sign; as much as that is added, so that
        the matrix is positive definite.
        """
        sums, own = self.gram[:-1, -1], self.gram[:-1, :-1]
        rounding = np.finfo(float).eps * np.trace(own)
        return own - np.outer(sums, sums) / self.gram[-1, -1] + rounding * np.eye(len(own))


def second_moments(encoder: Encoder, batches: Sequence[Arrays], *, seed: int = 0) -> list[Moments]:
    """Per position, from one forward and one backward pass over ``batches``; no labels are used.

    Raises UsageError where there is no batch.
    """
    likelihood = Likelihood(encoder, batches, seed, None)
    linears = [gathering(layer) for layer in encoder.operators]
    grams = [torch.zeros((n.in_features + 1,) * 2, dtype=torch.float64) for n in linears]
    curvatures = [torch.zeros((n.out_features,) * 2, dtype=torch.float64) for n in linears]
    last, count = last_mixing(encoder.architecture), 0
    with evaluating(encoder), torch.enable_grad():
        for batch in batches:
            inputs = tensors(batch, encoder)
            real = inputs["attention_mask"].bool()
            count += int(real.sum())
            seen, given = _run(encoder, linears, inputs)
            score = likelihood(given.pop(), inputs["attention_mask"])
            gradients = torch.autograd.grad(score, given)
            for place, (units, gradient) in enumerate(zip(seen, gradients, strict=True)):
                rows = real.clone()
                rows[:, 1:] &= place <= last
                _add(grams[place], nn.functional.pad(units[rows], (0, 1), value=1.0))
                _add(curvatures[place], gradient[rows])
    return [
        Moments(gram.div_(count).numpy(), curvature.div_(count).numpy())
        for gram, curvature in zip(grams, curvatures, strict=True)
    ]


def _run(
    encoder: Encoder, linears: Sequence[nn.Linear], inputs: dict[str, Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """What the linears are given and what they give, the encoder's outputs last of these."""
    seen: list[Tensor] = []
    given: list[Tensor] = []

    def catch(_: nn.Module, read: tuple[Tensor], found: Tensor) -> None:
        seen.append(read[0].detach())
        given.append(found)

    with ExitStack() as stack:
        for linear in linears:
            stack.callback(linear.register_forward_hook(catch).remove)
        given.append(encoder(**inputs))
    return seen, given


def _add(total: Tensor, rows: Tensor) -> None:
    rows = rows.double()
    total += (rows.T @ rows).cpu()

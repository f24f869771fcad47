"""What an encoder's outputs mean as distributions: divergence, entropy, loss against labels, likelihood.

Every output that is not a plain number is one or several choices among classes: of the first token one,
of a multi-label head one between yes and no for each label, of a token head one for each token, of
question answering one among the tokens for the begin and one for the end of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deploy.architecture import Architecture, Attention, SeparableConvolution
from deploy.kinds import IGNORED

_NUMBERS = ("embedding", "regression")


def last_mixing(architecture: Architecture) -> int:
    """The last position whose outputs are of use beyond the first token; a head on the first token reads
    nothing else of what comes after the last operator that mixes tokens."""
    operators = architecture.operators
    if architecture.reads_all:
        return len(operators)
    mixing = (Attention, SeparableConvolution)
    return max((i for i, op in enumerate(operators) if isinstance(op, mixing)), default=-1)


def has_classes(architecture: Architecture) -> bool:
    """Whether the outputs are choices among classes."""
    return architecture.output not in _NUMBERS


def single(values: Tensor) -> Tensor:
    """In single precision at least: 8 bits, as of bf16, are too few to compare by."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def choices(architecture: Architecture, outputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [batch, choices, classes], and what each choice weighs [batch, choices].

    The choices of an example weigh 1 together where there is one for each of its tokens, so that a long
    text counts as much as a short one; padding weighs nothing.

    Args:
        outputs: of the encoder. mask: [batch, sequence], 1 for tokens and 0 for padding.
    """
    outputs = single(outputs)
    match architecture.output:
        case "multi-label":
            outputs = torch.stack([torch.zeros_like(outputs), outputs], -1)
        case "question-answering":
            lowest = torch.finfo(outputs.dtype).min
            outputs = outputs.transpose(1, 2).masked_fill(mask[:, None] == 0, lowest)
        case "classification":
            outputs = outputs[:, None]
        case _:
            real = mask.to(outputs)
            return outputs, real / real.sum(-1, keepdim=True)
    return outputs, torch.ones_like(outputs[..., 0])


def divergence(
    architecture: Architecture,
    reference: Tensor,
    outputs: Tensor,
    mask: Tensor,
    temperature: float = 1.0,
) -> Tensor:
    """How far ``outputs`` are from ``reference``: [batch], in nats.

    KL(reference ‖ outputs) of the choices at ``temperature``. Where there are none it is the KL of
    unit-variance Gaussians around the outputs, half their squared distance.
    """
    if not has_classes(architecture):
        return 0.5 * (single(reference) - single(outputs)).square().sum(-1)
    wanted, weights = choices(architecture, reference / temperature, mask)
    found, _ = choices(architecture, outputs / temperature, mask)
    wanted, found = wanted.log_softmax(-1), found.log_softmax(-1)
    return (weights * (wanted.exp() * (wanted - found)).sum(-1)).sum(-1)


def entropy(architecture: Architecture, outputs: Tensor, mask: Tensor) -> Tensor:
    """Of the choices of every example, in nats: [batch]. 0 where there are no classes.

    Args:
        outputs: of the encoder. mask: [batch, sequence], 1 for tokens and 0 for padding.
    """
    if not has_classes(architecture):
        return outputs.new_zeros(len(outputs))
    logits, weights = choices(architecture, outputs, mask)
    logs = logits.log_softmax(-1)
    return (weights * -(logs.exp() * logs).sum(-1)).sum(-1)


def loss(architecture: Architecture, outputs: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of all choices that have a label, or the mean squared error of numbers.

    Args:
        labels: the class of every choice, int64 [batch] or [batch, choices],
            :data:`~deploy.kinds.IGNORED` where none is scored; float [batch] of a regression.
    """
    if not has_classes(architecture):
        outputs = single(outputs)
        return nn.functional.mse_loss(outputs.squeeze(-1), labels.to(outputs))
    logits, _ = choices(architecture, outputs, mask)
    return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def losses(
    architecture: Architecture,
    outputs: Tensor,
    mask: Tensor,
    labels: Tensor,
    scales: Sequence[float],
) -> Tensor:
    """What is lost against every example's labels where the outputs, choices among classes, are scaled:
    [scales, batch], in nats, choices weighed as in :func:`divergence`.

    Args:
        labels: as in :func:`loss`.
    """
    logits, weights = choices(architecture, outputs, mask)
    labels = labels.reshape(weights.shape)
    known = labels != IGNORED  # of a masked language model few, of a large vocabulary
    logits, labels = logits[known], labels[known]
    logs = torch.stack([_log_probabilities(scale * logits, labels) for scale in scales])
    found = logs.new_zeros(len(scales), len(outputs))
    return found.index_add(1, known.nonzero()[:, 0], -weights[known] * logs)


def log_likelihood(
    architecture: Architecture, outputs: Tensor, mask: Tensor, labels: Tensor
) -> Tensor:
    """√w · log p(class) summed over all choices of weight w that have a label; a scalar.

    Its squared gradient is in expectation the curvature of :func:`divergence`, where a choice weighs w.
    """
    logits, weights = choices(architecture, outputs, mask)
    return (weights.sqrt() * _log_probabilities(logits, labels)).sum()


def _log_probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """Of the class of every choice [batch, choices], 0 where it has no label."""
    labels = labels.reshape(logits.shape[:-1])
    found = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return torch.where(labels == IGNORED, 0.0, found)


def draw(
    architecture: Architecture, outputs: Tensor, mask: Tensor, generator: torch.Generator
) -> Tensor:
    """A class for every choice, drawn from the outputs' own distributions: int64 [batch, choices]."""
    logits, weights = choices(architecture, outputs.detach(), mask)
    drawn = torch.multinomial(logits.softmax(-1).flatten(0, 1).cpu(), 1, generator=generator)
    return drawn.view(weights.shape).to(outputs.device)

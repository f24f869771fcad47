"""Per-example Fisher information of the dimensions of the residual stream.

As elastic.importance.fisher, with one mask on the dimensions wherever the stream is read: behind every
LayerNorm over it, and behind the projection that makes it of a narrower embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deploy.encoder import Encoder
from devices.runtimes import Arrays
from elastic.importance.likelihood import Labels, Likelihood
from elastic.stream import first_projection, stream_norms
from elastic.tensors import evaluating, tensors
from elastic.trunk import stream_width


def stream_fisher(
    encoder: Encoder, batches: Sequence[Arrays], *, seed: int = 0, labels: Labels | None = None
) -> np.ndarray[Any, Any]:
    """½ E[g²] of every dimension, in nats: float64 [hidden].

    Raises UsageError as :class:`~elastic.importance.likelihood.Likelihood` does, and where the hidden
    size of the encoder cannot be cut.
    """
    likelihood = Likelihood(encoder, batches, seed, labels)
    total = np.zeros(stream_width(encoder.architecture))
    count = 0
    with evaluating(encoder), torch.enable_grad():
        for batch in batches:
            count += len(batch["input_ids"])
            gradient = _gradient(encoder, tensors(batch, encoder), len(total), likelihood)
            total += gradient.double().square().sum(0).cpu().numpy()
    return 0.5 * total / count


def _gradient(
    encoder: Encoder, batch: dict[str, Tensor], width: int, likelihood: Likelihood
) -> Tensor:
    """∂ log p(y|x) / ∂m of every example, [batch, hidden]."""
    ids = batch["input_ids"]
    mask = torch.ones(len(ids), 1, width, device=ids.device, requires_grad=True)
    projection = first_projection(encoder)
    modules = [*([] if projection is None else [projection]), *stream_norms(encoder)]
    with ExitStack() as stack:
        for module in modules:
            handle = module.register_forward_hook(lambda _m, _i, states: states * mask)
            stack.callback(handle.remove)
        outputs = encoder(**batch)
    [gradient] = torch.autograd.grad(likelihood(outputs, batch["attention_mask"]), [mask])
    return gradient.squeeze(1)

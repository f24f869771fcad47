"""Ridge regressions: a linear layer, or a LayerNorm, refitted to what it should give.

Each iterates the ridge (Tikhonov) regression: the weights of one round are what the ridge of the next
pulls towards, which fits what many rows agree on and still does not follow what few of them say. The
moments are summed over the rows once, in float64.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ROUNDS = 2


def refit_linear(
    linear: nn.Linear,
    read: Sequence[Tensor],
    wanted: Sequence[Tensor],
    rows: Sequence[Tensor],
    share: float,
) -> None:
    """Refit ``linear``, in place, so that it makes ``wanted`` of ``read``.

    Args:
        read: per batch [..., inputs]. wanted: per batch [..., outputs].
        rows: per batch [...], True where they count.
        share: the ridge, of the mean of the Gram matrix's diagonal.
    """
    width = linear.in_features + 1
    gram = torch.zeros(width, width, dtype=torch.float64)
    cross = torch.zeros(width, linear.out_features, dtype=torch.float64)
    count = 0
    for given, target, chosen in zip(read, wanted, rows, strict=True):
        inputs = nn.functional.pad(given[chosen], (0, 1), value=1.0)
        # A batch's products are off by a millionth, which the ridge is far above; their sum is exact.
        gram += (inputs.T @ inputs).double().cpu()
        cross += (inputs.T @ target[chosen]).double().cpu()
        count += len(inputs)
    scale = float(gram.diagonal()[:-1].mean()) or 1.0
    ridge = share * scale * torch.eye(width, dtype=torch.float64)
    ridge[-1, -1] = 1e-9 * count  # the bias is free, as long as there is anything to fit it to
    factor = torch.linalg.cholesky(gram + ridge)
    fitted = torch.cat([linear.weight.T, linear.bias[None]]).double().cpu()
    for _ in range(ROUNDS):
        fitted = torch.cholesky_solve(cross + ridge @ fitted, factor)
    linear.weight.copy_(fitted[:-1].T)
    linear.bias.copy_(fitted[-1])


def refit_norm(
    norm: nn.LayerNorm,
    sums: Sequence[Tensor],
    wanted: Sequence[Tensor],
    rows: Sequence[Tensor],
    share: float,
) -> None:
    """Refit scale and shift of ``norm``, in place: of every dimension the line from what it normalises
    to what is ``wanted`` behind it. ``share``: the ridge, of what the normalised ones have."""
    count = 0
    z1 = z2 = t1 = zt = torch.zeros(())
    for given, target, chosen in zip(sums, wanted, rows, strict=True):
        total = given[chosen].double()
        z = nn.functional.layer_norm(total, total.shape[-1:], eps=norm.eps)
        t = target[chosen][:, : z.shape[-1]].double()
        z1, z2, t1, zt = z1 + z.sum(0), z2 + z.square().sum(0), t1 + t.sum(0), zt + (z * t).sum(0)
        count += len(z)
    ridge = share * count
    scale = norm.weight.double()
    for _ in range(ROUNDS):
        scale = (zt - z1 * t1 / count + ridge * scale) / (z2 - z1.square() / count + ridge)
    norm.weight.copy_(scale)
    norm.bias.copy_((t1 - scale * z1) / count)

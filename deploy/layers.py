"""The sub-layers of an encoder: one module per kind of operator, all called alike."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deploy.architecture import (
    Architecture,
    Attention,
    FeedForward,
    Operator,
    Projection,
    SeparableConvolution,
)

ACTIVATIONS = {
    "gelu": nn.GELU(),
    "gelu_new": nn.GELU("tanh"),
    "relu": nn.ReLU(),
    "tanh": nn.Tanh(),
}


class SubLayer(nn.Module):
    """What a sub-layer adds to the residual stream, with a LayerNorm after the sum or before it.

    Args:
        hidden: width of the residual stream.
        architecture: the encoder's, for what all its sub-layers have in common.
        normed: whether there is a LayerNorm.
    """

    def __init__(self, hidden: int, architecture: Architecture, normed: bool = True) -> None:
        super().__init__()
        self.pre = architecture.norm == "pre"
        self.norm = nn.LayerNorm(hidden, eps=architecture.norm_eps) if normed else nn.Identity()

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """``states`` [batch, sequence, hidden], additive ``mask`` [batch, 1, 1, sequence]."""
        if self.pre:
            return states + self.added(self.norm(states), mask)
        normed: Tensor = self.norm(states + self.added(states, mask))
        return normed

    def added(self, states: Tensor, mask: Tensor) -> Tensor:
        """What is added to the residual stream [batch, sequence, hidden]."""
        raise NotImplementedError


class AttentionLayer(SubLayer):
    """Self-attention."""

    def __init__(self, operator: Attention, hidden: int, architecture: Architecture) -> None:
        super().__init__(hidden, architecture, operator.normed)
        inner = operator.heads * operator.head_dim
        self.head_dim, self.heads, self.window = operator.head_dim, operator.heads, operator.window
        self.query = nn.Linear(hidden, inner)
        self.key = nn.Linear(hidden, inner)
        self.value = nn.Linear(hidden, inner)
        self.output = nn.Linear(inner, hidden)
        self.rotary = operator.rotary is not None
        if operator.rotary is not None:
            angles = _angles(architecture.positions, operator.head_dim, operator.rotary)
            self.register_buffer("cosine", angles.cos(), persistent=False)
            self.register_buffer("sine", angles.sin(), persistent=False)

    def added(self, states: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = self.output(self.units(states, mask))
        return found

    def units(self, states: Tensor, mask: Tensor) -> Tensor:
        """What the heads give, side by side: [batch, sequence, heads · head_dim]."""
        # Spelt out rather than scaled_dot_product_attention: at opset 20 this gives the cleanest
        # graph, which every runtime's own fusion recognises.
        query, key, value = (
            self._split(project(states)) for project in (self.query, self.key, self.value)
        )
        if self.rotary:
            query, key = self._turned(query), self._turned(key)
        if self.window is not None:
            place = torch.arange(states.shape[1], device=states.device)
            far = (place[:, None] - place[None, :]).abs() > self.window
            mask = mask.masked_fill(far, torch.finfo(mask.dtype).min)
        scores = query @ key.transpose(-1, -2) * self.head_dim**-0.5 + mask
        return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)

    def _split(self, projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)

    def _turned(self, heads: Tensor) -> Tensor:
        """Every pair of dimensions turned by the token's angle: [batch, heads, sequence, dimensions]."""
        length = heads.shape[2]
        first, second = heads.chunk(2, -1)
        crossed = torch.cat([-second, first], -1)
        return heads * self.cosine[:length] + crossed * self.sine[:length]


def _angles(positions: int, dimensions: int, base: float) -> Tensor:
    """[positions, dimensions]; the second half of the dimensions has the angles of the first."""
    speeds = base ** -(torch.arange(0, dimensions, 2, dtype=torch.float32) / dimensions)
    half = torch.arange(positions, dtype=torch.float32)[:, None] * speeds
    return torch.cat([half, half], -1)


class FeedForwardLayer(SubLayer):
    """Linear, activation, linear; with a gate the activation is multiplied by a third linear layer."""

    def __init__(self, operator: FeedForward, hidden: int, architecture: Architecture) -> None:
        super().__init__(hidden, architecture)
        self.up = nn.Linear(hidden, operator.width)
        self.activation = ACTIVATIONS[operator.activation]
        self.gate = nn.Linear(hidden, operator.width) if operator.gated else None
        self.down = nn.Linear(operator.width, hidden)

    def added(self, states: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = self.down(self.units(states, mask))
        return found

    def units(self, states: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG002 - one call for all
        """What the neurons give: [batch, sequence, width]."""
        inner: Tensor = self.activation(self.up(states))
        return inner if self.gate is None else inner * self.gate(states)


class SeparableConvolutionLayer(SubLayer):
    """Depthwise and pointwise convolution over the tokens, activation."""

    def __init__(
        self, operator: SeparableConvolution, hidden: int, architecture: Architecture
    ) -> None:
        super().__init__(hidden, architecture)
        self.depthwise = nn.Conv1d(
            hidden,
            hidden,
            operator.kernel,
            padding=operator.kernel // 2,
            groups=hidden,
            bias=False,
        )
        self.pointwise = nn.Linear(hidden, hidden)
        self.activation = ACTIVATIONS[operator.activation]

    def added(self, states: Tensor, mask: Tensor) -> Tensor:
        # Padding is zeroed, or it would reach the tokens beside it.
        kept = states * (mask[:, 0, 0, :, None] == 0).to(states.dtype)
        mixed = self.depthwise(kept.transpose(1, 2)).transpose(1, 2)
        found: Tensor = self.activation(self.pointwise(mixed))
        return found


class ProjectionLayer(nn.Module):
    """A linear layer to another hidden size; no residual, no norm."""

    def __init__(self, operator: Projection, hidden: int, _architecture: Architecture) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, operator.to)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG002 - one call for all
        """``states`` [batch, sequence, hidden]."""
        projected: Tensor = self.linear(states)
        return projected


_LAYERS: dict[type[Operator], Callable[..., nn.Module]] = {
    Attention: AttentionLayer,
    FeedForward: FeedForwardLayer,
    SeparableConvolution: SeparableConvolutionLayer,
    Projection: ProjectionLayer,
}


def share(layer: nn.Module, first: nn.Module) -> None:
    """Give ``layer``, a module like ``first``, the very parameters of that."""
    for name, module in layer.named_modules():
        for kind, _ in list(module.named_parameters(recurse=False)):
            setattr(module, kind, first.get_parameter(f"{name}.{kind}"))


def make_layer(operator: Operator, hidden: int, architecture: Architecture) -> nn.Module:
    """The module of one operator of ``architecture`` that is given states of width ``hidden``."""
    return _LAYERS[type(operator)](operator, hidden, architecture)

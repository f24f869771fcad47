"""The sub-layers of an encoder: one module per kind of operator, all called alike."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from deploy.architecture import (
    Attention,
    FeedForward,
    Operator,
    Projection,
    SeparableConvolution,
)

_ACTIVATIONS = {"gelu": nn.GELU(), "gelu_new": nn.GELU("tanh"), "relu": nn.ReLU()}


class AttentionLayer(nn.Module):
    """Self-attention, residual, LayerNorm (post-norm)."""

    def __init__(self, operator: Attention, hidden: int, eps: float) -> None:
        super().__init__()
        inner = operator.heads * operator.head_dim
        self.head_dim = operator.head_dim
        self.heads = operator.heads
        self.query = nn.Linear(hidden, inner)
        self.key = nn.Linear(hidden, inner)
        self.value = nn.Linear(hidden, inner)
        self.output = nn.Linear(inner, hidden)
        self.norm = nn.LayerNorm(hidden, eps=eps)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """``states`` [batch, sequence, hidden], additive ``mask`` [batch, 1, 1, sequence]."""
        # Spelt out rather than scaled_dot_product_attention: at opset 20 this gives the cleanest
        # graph, which every runtime's own fusion recognises.
        query, key, value = (
            self._split(project(states)) for project in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) * self.head_dim**-0.5 + mask
        context = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        return self.norm(states + self.output(context))

    def _split(self, projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)


class FeedForwardLayer(nn.Module):
    """Linear, activation, linear, residual, LayerNorm (post-norm)."""

    def __init__(self, operator: FeedForward, hidden: int, eps: float) -> None:
        super().__init__()
        self.up = nn.Linear(hidden, operator.width)
        self.activation = _ACTIVATIONS[operator.activation]
        self.gate = nn.Linear(hidden, operator.width) if operator.gated else None
        self.down = nn.Linear(operator.width, hidden)
        self.norm = nn.LayerNorm(hidden, eps=eps)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG002 - one call for all
        """``states`` [batch, sequence, hidden]."""
        inner = self.activation(self.up(states))
        if self.gate is not None:
            inner = inner * self.gate(states)
        return self.norm(states + self.down(inner))


class SeparableConvolutionLayer(nn.Module):
    """Depthwise and pointwise convolution over the tokens, residual, LayerNorm (post-norm)."""

    def __init__(self, operator: SeparableConvolution, hidden: int, eps: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(
            hidden,
            hidden,
            operator.kernel,
            padding=operator.kernel // 2,
            groups=hidden,
            bias=False,
        )
        self.pointwise = nn.Linear(hidden, hidden)
        self.activation = _ACTIVATIONS[operator.activation]
        self.norm = nn.LayerNorm(hidden, eps=eps)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """``states`` [batch, sequence, hidden], additive ``mask`` [batch, 1, 1, sequence]."""
        # Padding is zeroed, or it would reach the tokens beside it.
        kept = states * (mask[:, 0, 0, :, None] == 0).to(states.dtype)
        mixed = self.depthwise(kept.transpose(1, 2)).transpose(1, 2)
        return self.norm(states + self.activation(self.pointwise(mixed)))


class ProjectionLayer(nn.Module):
    """A linear layer to another hidden size; no residual, no norm."""

    def __init__(self, operator: Projection, hidden: int, eps: float) -> None:  # noqa: ARG002
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


def make_layer(operator: Operator, hidden: int, eps: float) -> nn.Module:
    """The module of one operator that is given states of width ``hidden``."""
    return _LAYERS[type(operator)](operator, hidden, eps)

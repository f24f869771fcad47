"""The heads of an encoder: from its last hidden states to its outputs."""

from __future__ import annotations

from torch import Tensor, nn

from deploy.architecture import Architecture
from deploy.layers import ACTIVATIONS


class NoHead(nn.Module):
    """The first token's state, or the mean of all."""

    reader = None

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.pooling = architecture.pooling

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """[batch, sequence, hidden] to [batch, hidden]; ``mask`` [batch, sequence] is 0 for padding."""
        return _pooled(states, mask, self.pooling)


class FirstTokenHead(nn.Module):
    """Linear, activation, linear on the first token, or the mean of all: classes, labels that go
    together, a number."""

    def __init__(self, architecture: Architecture, dropout: float) -> None:
        super().__init__()
        hidden = architecture.widths[-1]
        self.pooling = architecture.pooling
        self.pooler = nn.Linear(hidden, hidden)
        self.activation = ACTIVATIONS[architecture.pooler]
        self.norm = _norm(architecture)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, architecture.labels)

    @property
    def reader(self) -> nn.Linear:
        """What reads :meth:`gather`."""
        return self.pooler

    def gather(self, states: Tensor, mask: Tensor) -> Tensor:
        """[batch, sequence, hidden] to [batch, hidden]."""
        return _pooled(states, mask, self.pooling)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """[batch, sequence, hidden] to [batch, labels]; ``mask`` [batch, sequence] is 0 for padding."""
        pooled = self.activation(self.pooler(self.gather(states, mask)))
        logits: Tensor = self.classifier(self.dropout(self.norm(pooled)))
        return logits


class TokenHead(nn.Module):
    """Linear on every token: its class, or how likely an answer begins and ends there."""

    def __init__(self, architecture: Architecture, dropout: float) -> None:
        super().__init__()
        hidden = architecture.widths[-1]
        self.transform = nn.Linear(hidden, hidden) if architecture.normed_head else nn.Identity()
        self.activation = (
            ACTIVATIONS[architecture.pooler] if architecture.normed_head else nn.Identity()
        )
        self.norm = _norm(architecture)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, architecture.labels)

    @property
    def reader(self) -> nn.Linear:
        """What reads :meth:`gather`."""
        return self.transform if isinstance(self.transform, nn.Linear) else self.classifier

    def gather(self, states: Tensor, _mask: Tensor) -> Tensor:
        """The states as they are."""
        return states

    def forward(self, states: Tensor, _mask: Tensor) -> Tensor:
        """[batch, sequence, hidden] to [batch, sequence, labels]."""
        normed = self.norm(self.activation(self.transform(states)))
        logits: Tensor = self.classifier(self.dropout(normed))
        return logits


def _norm(architecture: Architecture) -> nn.Module:
    if architecture.normed_head:
        return nn.LayerNorm(architecture.widths[-1], eps=architecture.norm_eps)
    return nn.Identity()


def _pooled(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    if pooling == "first":
        return states[:, 0]
    real = mask[..., None].to(states.dtype)
    return (states * real).sum(1) / real.sum(1)


class VocabularyHead(nn.Module):
    """Linear, activation, LayerNorm, and the embedding table as the last linear layer."""

    row_of: Tensor | None

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        rows, columns = a.table
        self.transform = nn.Linear(a.widths[-1], a.hidden)
        self.activation = ACTIVATIONS[a.pooler]
        self.norm = nn.LayerNorm(a.hidden, eps=a.norm_eps)
        self.expand: nn.Module = nn.Identity()
        self.decoder = nn.Linear(columns, rows)
        self.register_buffer("row_of", None)

    @property
    def reader(self) -> nn.Linear:
        """What reads :meth:`gather`."""
        return self.transform

    def gather(self, states: Tensor, _mask: Tensor) -> Tensor:
        """The states as they are."""
        return states

    def tie(self, tokens: nn.Embedding, expand: nn.Module, row_of: Tensor | None) -> None:
        """Use the very table of tokens, what takes it to the hidden size, and the row of every id."""
        self.decoder.weight = tokens.weight
        self.expand = expand
        self.row_of = row_of

    def forward(self, states: Tensor, _mask: Tensor) -> Tensor:
        """[batch, sequence, hidden] to [batch, sequence, vocabulary]."""
        found = self.norm(self.activation(self.transform(states)))
        if isinstance(self.expand, nn.Linear):
            found = found @ self.expand.weight
        logits: Tensor = self.decoder(found)
        return logits if self.row_of is None else logits.index_select(-1, self.row_of)


def make_head(architecture: Architecture, dropout: float) -> nn.Module:
    """The head that ``architecture`` describes."""
    if architecture.output == "embedding":
        return NoHead(architecture)
    if architecture.output == "masked-language-model":
        return VocabularyHead(architecture)
    kind = TokenHead if architecture.per_token else FirstTokenHead
    return kind(architecture, dropout)

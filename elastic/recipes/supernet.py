"""A supernet in training: an elastic encoder, its sub-networks computing with views of its weights."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from deploy.architecture import Architecture, Attention, FeedForward
from deploy.costs import macs
from deploy.encoder import Encoder
from deploy.workload import Workload
from devices.errors import UsageError
from elastic.elastic_encoder import ElasticEncoder
from elastic.recipes.training import Batch, inputs_of
from elastic.space import Chain
from elastic.trunk import DENSE, Trunk
from elastic.views import Seeing, Seen, Views


class SupernetTraining(nn.Module):
    """What is trained, and kept at checkpoints.

    Attributes:
        passes: see :class:`elastic.checkpoint.ElasticCheckpoint`; float64 scalar.

    Args:
        length: tokens, for the shares of the dense encoder's cost.
    """

    passes: Tensor

    def __init__(self, elastic: ElasticEncoder, length: int) -> None:
        super().__init__()
        self.elastic = elastic
        self.register_buffer("passes", torch.zeros((), dtype=torch.float64))
        self._views, self._workload = Views(elastic), Workload(1, length)
        self._share = lru_cache(maxsize=None)(self._share_of)

    def see(self, batch: Batch, chain: Chain, trunk: Trunk = DENSE) -> Seen:
        """What a sub-network makes of a batch; counted as a pass of its size."""
        self.passes += batch["weight"].sum() * self._share(chain, trunk)
        return self._views(inputs_of(batch), chain, trunk)

    def _share_of(self, chain: Chain, trunk: Trunk) -> float:
        dense, small = self.elastic.architecture, self.elastic.architecture_of(chain, trunk)
        return macs(small, self._workload) / macs(dense, self._workload)


class Student(nn.Module):
    """One small encoder in training, counted as a :class:`SupernetTraining` is.

    Args:
        dense: what a pass is counted in. passes: before.
    """

    passes: Tensor

    def __init__(
        self, encoder: Encoder, dense: Architecture, length: int, passes: float = 0.0
    ) -> None:
        super().__init__()
        self.seeing = Seeing(encoder)
        workload = Workload(1, length)
        self._share = macs(encoder.architecture, workload) / macs(dense, workload)
        self.register_buffer("passes", torch.tensor(passes, dtype=torch.float64))

    @property
    def encoder(self) -> Encoder:
        return self.seeing.encoder

    def see(self, batch: Batch) -> Seen:
        """What it makes of a batch, which is counted."""
        self.passes += batch["weight"].sum() * self._share
        seen: Seen = self.seeing(inputs_of(batch))
        return seen


class Teacher:
    """What an encoder that is not trained says; it computes in evaluation mode, where the batch is."""

    def __init__(self, encoder: Encoder) -> None:
        self._seeing = Seeing(encoder).eval()

    def __call__(self, batch: Batch) -> Seen:
        with torch.no_grad():
            seen: Seen = self._seeing.to(batch["input_ids"].device)(inputs_of(batch))
        return seen


Layers = list[tuple[Attention, FeedForward]]


def layers_of(architecture: Architecture, recipe: str) -> Layers:
    """Attention and feed-forward of every layer.

    Raises UsageError where the chain has anything else, which ``recipe`` says nothing of.
    """
    found: Layers = []
    operators = architecture.operators
    for attention, feed_forward in zip(operators[::2], operators[1::2], strict=False):
        if isinstance(attention, Attention) and isinstance(feed_forward, FeedForward):
            found.append((attention, feed_forward))
    if not found or 2 * len(found) != len(operators):
        raise UsageError(
            f"Recipe {recipe} is for layers of an attention and a feed-forward each, not for "
            f"{architecture}; use --recipe cutonce, or the encoder that was not cut."
        )
    return found


def distance(seen: Tensor, taught: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of states [batch, sequence, hidden] on the tokens of ``mask``."""
    real = mask.bool()
    return (seen[real] - taught[real]).square().mean()

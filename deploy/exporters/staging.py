"""What all exporters share: whole files or none, silent vendors, and the inputs they trace with."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deploy.encoder import Encoder
from devices.runtimes import INPUTS

OUTPUT = "logits"
NARROW = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextlib.contextmanager
def staged(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield temporary places for ``files``; when the block succeeds they are renamed, in order.

    An interrupted export leaves nothing under the final names, except that a kill between two
    renames may leave the first ones: put the file whose presence means "done" last.
    """
    parent = files[0].parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".unfinished-") as temporary:
        places = [Path(temporary) / file.name for file in files]
        yield places
        for place, file in zip(places, files, strict=True):
            place.replace(file)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Swallow what vendors print, log and warn of while they work; their exceptions still come."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def plain_copy(encoder: Encoder) -> Encoder:
    """A copy in evaluation mode and float32 on the CPU; tracing never touches the original."""
    return copy.deepcopy(encoder).cpu().float().eval()


def example(encoder: Encoder) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs to trace with, each int64 [2, n]. No size is 1, which a tracer would take as fixed."""
    ids = torch.zeros(2, min(8, encoder.architecture.positions), dtype=torch.int64)
    return ids, torch.ones_like(ids), torch.zeros_like(ids)


def dynamic_shapes(encoder: Encoder, most: int | None = None) -> tuple[dict[int, Any], ...]:
    """Batch and sequence of every input may vary, the sequence up to the encoder's positions, the batch
    up to ``most`` where that is given."""
    batch = torch.export.Dim("batch", min=1, max=most)
    sequence = torch.export.Dim("sequence", min=1, max=encoder.architecture.positions)
    return ({0: batch, 1: sequence},) * len(INPUTS)


class FloatLogits(nn.Module):
    """An encoder of :data:`NARROW` weights whose logits are float32."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        logits: Tensor = self.encoder(input_ids, attention_mask, token_type_ids)
        return logits.float()

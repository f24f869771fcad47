"""torch.export programs (``.pt2``), which load without the model's source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from deploy.encoder import Encoder
from deploy.exporters import Exported
from deploy.exporters.staging import (
    NARROW,
    FloatLogits,
    dynamic_shapes,
    example,
    plain_copy,
    silence,
    staged,
)
from devices.runtimes import Arrays


class TorchExporter:
    """``torch/model.pt2``, or ``model_bf16.pt2`` and ``model_fp16.pt2`` with 16-bit weights and float32
    logits."""

    calibrated: tuple[str, ...] = ()

    def export(
        self,
        encoder: Encoder,
        precision: str,
        directory: Path,
        calibration: Sequence[Arrays],  # noqa: ARG002 - nothing here is quantised
    ) -> Exported:
        stem = "model" if precision == "fp32" else f"model_{precision}"
        path = directory / "torch" / f"{stem}.pt2"
        if not path.exists():
            module: nn.Module = plain_copy(encoder)
            if precision in NARROW:
                module = FloatLogits(module.to(NARROW[precision]))
            with staged([path]) as (place,), silence():
                program = torch.export.export(
                    module, example(encoder), dynamic_shapes=dynamic_shapes(encoder)
                )
                for node in program.graph.nodes:
                    node.meta.pop("stack_trace", None)  # source paths of the machine that traced
                torch.export.save(program, place)
        return Exported(path, (path,), directory)

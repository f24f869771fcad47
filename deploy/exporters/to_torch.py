"""torch.export programs (``.pt2``), which load without the model's source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from deploy.encoder import Encoder
from deploy.exporters import Exported
from deploy.exporters.staging import dynamic_shapes, example, plain_copy, silence, staged
from devices.runtimes import Arrays


class TorchExporter:
    """``torch/model.pt2``, or ``torch/model_bf16.pt2`` with bfloat16 weights and float32 logits."""

    def export(
        self,
        encoder: Encoder,
        precision: str,
        directory: Path,
        calibration: Sequence[Arrays],  # noqa: ARG002 - nothing here is quantised
    ) -> Exported:
        path = directory / "torch" / ("model_bf16.pt2" if precision == "bf16" else "model.pt2")
        if not path.exists():
            module: nn.Module = plain_copy(encoder)
            if precision == "bf16":
                module = _FloatLogits(module.bfloat16())
            with staged([path]) as (place,), silence():
                program = torch.export.export(
                    module, example(encoder), dynamic_shapes=dynamic_shapes(encoder)
                )
                for node in program.graph.nodes:
                    node.meta.pop("stack_trace", None)  # source paths of the machine that traced
                torch.export.save(program, place)
        return Exported(path, (path,))


class _FloatLogits(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        logits: Tensor = self.encoder(input_ids, attention_mask, token_type_ids)
        return logits.float()

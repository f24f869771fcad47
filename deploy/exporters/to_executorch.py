"""ExecuTorch programs (``.pte``) whose operators XNNPACK runs, for phones and other small devices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deploy.encoder import Encoder
from deploy.exporters import Exported
from deploy.exporters.staging import dynamic_shapes, example, plain_copy, silence, staged
from deploy.layers import SeparableConvolutionLayer
from devices.errors import MissingDependency
from devices.runtimes import Arrays
from devices.runtimes.executorch_runtime import ExecuTorchRuntime

MOST = 16  # texts at once, for which memory is planned when a program is written


class ExecuTorchExporter:
    """``executorch/model.pte``."""

    calibrated: tuple[str, ...] = ()

    def export(
        self,
        encoder: Encoder,
        precision: str,  # noqa: ARG002 - there is one
        directory: Path,
        calibration: Sequence[Arrays],  # noqa: ARG002 - nothing here is quantised
    ) -> Exported:
        path = directory / "executorch" / "model.pte"
        if not path.exists():
            with staged([path]) as (place,), silence():
                place.write_bytes(_lower(encoder))
        return Exported(path, (path,), directory)


def _lower(encoder: Encoder) -> bytes:
    """Raises MissingDependency where ExecuTorch is not installed."""
    try:
        from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
        from executorch.backends.xnnpack.partition.config.generic_node_configs import (
            UnsqueezeCopyConfig,
        )
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
    except ImportError as error:
        raise MissingDependency(
            f"executorch is not installed: {ExecuTorchRuntime.install}."
        ) from error
    module = plain_copy(encoder)
    for layer in module.modules():
        if isinstance(layer, SeparableConvolutionLayer):
            layer.depthwise = _Taps(layer.depthwise)
    program = torch.export.export(
        module, example(encoder), dynamic_shapes=dynamic_shapes(encoder, MOST)
    )
    # XNNPACK reshapes along one size that varies, and batch and length both do.
    taken = [config for config in ALL_PARTITIONER_CONFIGS if config is not UnsqueezeCopyConfig]
    partitioner = XnnpackPartitioner(configs=taken)
    lowered: Any = to_edge_transform_and_lower(program, partitioner=[partitioner])
    return bytes(lowered.to_executorch().buffer)


class _Taps(nn.Module):
    """A depthwise convolution as a sum over its kernel, [batch, channels, length] to the same.

    torch picks a convolution's algorithm when it traces, and with it how many texts there may be.
    """

    def __init__(self, convolution: nn.Conv1d) -> None:
        super().__init__()
        self.weight = convolution.weight

    def forward(self, states: Tensor) -> Tensor:
        length, taps = states.shape[-1], self.weight.unbind(-1)
        padded = nn.functional.pad(states, (len(taps) // 2, len(taps) // 2))
        moved = (tap * padded[..., k : k + length] for k, tap in enumerate(taps))
        return torch.stack([*moved]).sum(0)

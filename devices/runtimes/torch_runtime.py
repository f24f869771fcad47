"""torch, running an exported program on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from devices.errors import DeviceError, MissingDependency
from devices.runtimes import Arrays


class TorchSession:
    """One loaded exported program, which takes its inputs by position and returns one tensor."""

    clock = None
    settle_ms = 0.0

    def __init__(self, module: Any, inputs: Sequence[str], precision: str, threads: int) -> None:
        self.precision = precision
        self._module, self._inputs, self._threads = module, inputs, threads

    def run(self, inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        import torch

        # The pool is the whole process', so another session may have changed it since.
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            answer = self._module(*(torch.from_numpy(inputs[name]) for name in self._inputs))
            return [answer.float().numpy()]


class TorchRuntime:
    """Loads ``.pt2`` files; the precision is in the file."""

    package = "torch"
    gpu = False
    install = 'pip install "torch>=2.11,<2.14" --index-url https://download.pytorch.org/whl/cpu'

    def load(
        self,
        path: Path,
        precision: str,  # noqa: ARG002 - what the file's weights are stored in is what counts
        threads: int,
    ) -> TorchSession:
        try:
            import torch
        except ImportError as error:
            raise MissingDependency("torch is not installed: pip install torch.") from error
        try:
            program = torch.export.load(str(path))
            module = program.module()
        except Exception as error:  # whatever torch's deserialisers meet, of any type
            raise DeviceError(
                f"torch cannot load {path} ({error}); export it again with `cutonce export`."
            ) from error
        bf16 = any(tensor.dtype == torch.bfloat16 for tensor in program.state_dict.values())
        inputs = program.graph_signature.user_inputs
        return TorchSession(module, inputs, "bf16" if bf16 else "f32", threads)

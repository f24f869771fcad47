"""torch, running an exported program on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from devices.errors import DeviceError, MissingDependency
from devices.packages import installed_version
from devices.runtimes import Arrays


class TorchSession:
    """One loaded program, which takes its inputs by position and returns one tensor."""

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

    packages = ("torch",)
    precisions = ("fp32", "bf16")
    gpu = False
    stands_for = ""
    install = 'pip install "torch>=2.11,<2.14" --index-url https://download.pytorch.org/whl/cpu'

    def version(self) -> str | None:
        return installed_version(self.packages[0])

    def load(
        self,
        path: Path,
        precision: str,  # noqa: ARG002 - what the file's weights are stored in is what counts
        threads: int,
        alone: bool = True,  # noqa: ARG002 - its threads are not pinned
    ) -> TorchSession:
        program = load_program(path)
        with unloadable(path):
            module = program.module()
        inputs = program.graph_signature.user_inputs
        return TorchSession(module, inputs, stored_precision(program), threads)


def load_program(path: Path) -> Any:
    """The exported program in a ``.pt2`` file, on the CPU.

    Raises:
        MissingDependency: torch is not installed.
        DeviceError: it cannot be loaded.
    """
    torch = import_torch()
    with unloadable(path):
        return torch.export.load(str(path))


def import_torch() -> Any:
    """Raises MissingDependency where it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependency("torch is not installed: pip install torch.") from error
    return torch


@contextmanager
def unloadable(path: Path) -> Iterator[None]:
    """What torch's deserialisers meet, of any type, as one DeviceError."""
    try:
        yield
    except Exception as error:  # they have no type in common
        raise DeviceError(
            f"torch cannot load {path} ({error}); export it again with `cutonce export`."
        ) from error


def stored_precision(program: Any) -> str:
    """``f16`` or ``bf16`` where any weight of an exported program is that, else ``f32``."""
    stored = {str(tensor.dtype) for tensor in program.state_dict.values()}
    narrow = {"torch.float16": "f16", "torch.bfloat16": "bf16"}
    return next((name for dtype, name in narrow.items() if dtype in stored), "f32")

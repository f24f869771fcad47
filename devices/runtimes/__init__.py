"""Runtimes: each loads an exported file and runs it. One file per runtime.

In scope: loading, running, saying which precision is really used. Out of scope: exporting,
timing, deciding. These modules travel inside the agent to other machines, so they import only
the standard library and numpy, and their vendor package inside calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from devices.registry import Registry

Arrays = Mapping[str, np.ndarray[Any, Any]]

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What every exported file takes, in this order where it goes by position."""


class Session(Protocol):
    """A loaded file.

    Attributes:
        precision: what the runtime says it computes in, e.g. ``f32``, ``bf16``; may differ from
            what was asked for, which is why it is recorded.
        clock: nanoseconds by a clock of its own, virtual or the device's, or None when the wall
            clock applies. Only the profiler reads it.
        settle_ms: how long it has to run before a time counts; 0 and one run is enough.
    """

    precision: str
    clock: Callable[[], int] | None
    settle_ms: float

    def run(self, inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        """Run once. ``inputs``: int64 arrays of shape [batch, sequence]; surplus names are
        ignored. Returns the outputs as float32, in the file's order."""
        ...


class Runtime(Protocol):
    """Loads files of one format.

    Attributes:
        packages: the Python packages that it takes to answer by its files, its own first.
        precisions: what it can be asked for, see :data:`devices.precision.PRECISIONS`.
        gpu: whether it runs on a GPU.
        stands_for: where its files are to run in truth, if that is elsewhere: its times are not those.
        install: the command that installs it.
    """

    packages: tuple[str, ...]
    precisions: tuple[str, ...]
    gpu: bool
    stands_for: str
    install: str

    def version(self) -> str | None:
        """That is installed here; None where it is not."""
        ...

    def load(self, path: Path, precision: str, threads: int, alone: bool = True) -> Session:
        """Load an exported file.

        Args:
            threads: of one run.
            alone: whether no copy of it runs beside it, with which it would have to share the cores.

        Raises:
            DeviceError: the file cannot be loaded.
        """
        ...


RUNTIMES = Registry(
    "runtime",
    {
        "torch": "devices.runtimes.torch_runtime:TorchRuntime",
        "torch-compiled": "devices.runtimes.torch_compiled_runtime:TorchCompiledRuntime",
        "torch-aotinductor": "devices.runtimes.torch_aotinductor_runtime:AotInductorRuntime",
        "torch-cuda": "devices.runtimes.torch_cuda_runtime:TorchCudaRuntime",
        "executorch": "devices.runtimes.executorch_runtime:ExecuTorchRuntime",
        "tensorrt": "devices.runtimes.tensorrt_runtime:TensorRtRuntime",
        "onnxruntime": "devices.runtimes.onnxruntime_runtime:OnnxRuntime",
        "onnxruntime-mobile": "devices.runtimes.onnxruntime_runtime:OnnxRuntimeMobile",
        "onnxruntime-web": "devices.runtimes.onnxruntime_web_runtime:OnnxRuntimeWeb",
        "openvino": "devices.runtimes.openvino_runtime:OpenVinoRuntime",
        "fake": "devices.runtimes.fake_runtime:FakeRuntime",
    },
)

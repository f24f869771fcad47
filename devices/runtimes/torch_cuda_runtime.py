"""torch on an NVIDIA GPU: an exported program, replayed as one CUDA graph for each shape of inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from devices.errors import DeviceError, MissingDependency
from devices.packages import installed_version
from devices.runtimes import Arrays
from devices.runtimes.torch_runtime import load_program, stored_precision, unloadable

_SETTLE_SECONDS = 2.0  # of work before the first capture: an idle GPU clocks down
_MOST_SHAPES = 64  # captured at a time, each with memory of its own
_WARM_UPS = 3  # runs before a capture, in which libraries pick their kernels


class CudaSession:
    """One exported program on the current GPU.

    ``clock`` is the time that the device spent in replays, between two events around each: neither
    copies nor what Python takes to launch them count.
    """

    settle_ms = 50.0

    def __init__(self, module: Any, inputs: Sequence[str], precision: str) -> None:
        self.precision = precision
        self.clock: Callable[[], int] = lambda: self._now
        self._module, self._inputs = module, inputs
        self._replays: dict[tuple[int, ...], _Replay] = {}
        self._now = 0

    def run(self, inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        import torch

        arrays = [torch.from_numpy(inputs[name]) for name in self._inputs]
        shape = tuple(arrays[0].shape)
        with torch.inference_mode():
            if shape not in self._replays:
                if len(self._replays) >= _MOST_SHAPES:  # the one that was captured first
                    del self._replays[next(iter(self._replays))]
                seconds = 0.0 if self._replays else _SETTLE_SECONDS
                self._replays[shape] = _Replay(self._module, arrays, seconds)
            answer, nanoseconds = self._replays[shape].run(arrays)
        self._now += nanoseconds
        return [answer]


class _Replay:
    """A captured run, with memory of its own for inputs and output."""

    def __init__(self, module: Any, arrays: Sequence[Any], seconds: float) -> None:
        import torch

        self._inputs = [array.cuda() for array in arrays]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        began, runs = perf_counter(), 0
        with torch.cuda.stream(side):
            while runs < _WARM_UPS or perf_counter() - began < seconds:
                module(*self._inputs)
                side.synchronize()
                runs += 1
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = module(*self._inputs)
        self._start, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def run(self, arrays: Sequence[Any]) -> tuple[np.ndarray[Any, Any], int]:
        """The output, and nanoseconds between the events around the replay."""
        for mine, given in zip(self._inputs, arrays, strict=True):
            mine.copy_(given)
        self._start.record()
        self._graph.replay()
        self._end.record()
        self._end.synchronize()
        return self._output.float().cpu().numpy(), round(1e6 * self._start.elapsed_time(self._end))


class TorchCudaRuntime:
    """Loads ``.pt2`` files; the precision is in the file."""

    packages = ("torch",)
    precisions = ("fp32", "fp16", "bf16")
    gpu = True
    stands_for = ""
    install = "an NVIDIA GPU with its driver, torch for CUDA (https://pytorch.org), nvidia-ml-py"

    def version(self) -> str | None:
        return installed_version(self.packages[0])

    def load(
        self,
        path: Path,
        precision: str,  # noqa: ARG002 - what the file's weights are stored in is what counts
        threads: int,  # noqa: ARG002 - the work is the GPU's
        alone: bool = True,  # noqa: ARG002
    ) -> CudaSession:
        require_gpu()
        from torch.export.passes import move_to_device_pass

        program = load_program(path)
        with unloadable(path):
            program = move_to_device_pass(program, "cuda")
            module = program.module()
        return CudaSession(module, program.graph_signature.user_inputs, stored_precision(program))


def require_gpu() -> None:
    """Raises MissingDependency without torch, DeviceError where it sees no GPU."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependency("torch is not installed: pip install torch.") from error
    if not torch.cuda.is_available():
        raise DeviceError(
            f"torch {torch.__version__} sees no CUDA GPU; install its driver and a torch built for "
            "CUDA (https://pytorch.org), or take another runtime."
        )

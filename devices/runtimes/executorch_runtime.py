"""ExecuTorch: what phones and other small devices run, here through its Python package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from devices.errors import DeviceError, MissingDependency
from devices.packages import installed_version
from devices.runtimes import INPUTS, Arrays


class Pool:
    """The threads of the whole process; a program that was loaded before they were replaced must not run
    on those that are gone."""

    replaced = 0  # times

    @property
    def threads(self) -> int:
        from executorch.extension.pybindings import portable_lib

        return int(portable_lib._threadpool_get_thread_count())

    def resize(self, threads: int) -> None:
        from executorch.extension.pybindings import portable_lib

        if self.threads != threads:
            portable_lib._unsafe_reset_threadpool(threads)
            self.replaced += 1


POOL = Pool()


class ExecuTorchSession:
    """One program, for which memory was planned when it was written."""

    clock = None
    settle_ms = 0.0
    precision = "f32"

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._threads = path, threads
        self._load()

    def run(self, inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        import torch

        shape = inputs[INPUTS[0]].shape
        if any(size > most for size, most in zip(shape, self._most, strict=True)):
            raise DeviceError(
                f"Inputs have shape {list(shape)}, and this program takes {list(self._most)} at most; "
                "run fewer or shorter texts at once."
            )
        POOL.resize(self._threads)  # another session may have changed it
        if self._replaced != POOL.replaced:
            self._load()
        [answer] = self._method.execute([torch.from_numpy(inputs[name]) for name in INPUTS])
        return [answer.numpy()]

    def _load(self) -> None:
        from executorch.runtime import Runtime

        POOL.resize(self._threads)
        self._replaced = POOL.replaced
        self._method = Runtime.get().load_program(self._path).load_method("forward")
        self._most = tuple(self._method.metadata.input_tensor_meta(0).sizes())


class ExecuTorchRuntime:
    """Loads ``.pte`` files."""

    packages = ("executorch", "torch")
    precisions = ("fp32",)
    gpu = False
    stands_for = ""
    install = 'pip install "executorch>=1.4,<1.5"'

    def version(self) -> str | None:
        return installed_version(self.packages[0])

    def load(
        self,
        path: Path,
        precision: str,  # noqa: ARG002 - there is one
        threads: int,
        alone: bool = True,  # noqa: ARG002 - its threads are not pinned
    ) -> ExecuTorchSession:
        try:
            return ExecuTorchSession(path, threads)
        except ImportError as error:
            raise MissingDependency(f"executorch is not installed: {self.install}.") from error
        except (OSError, RuntimeError) as error:
            raise DeviceError(
                f"ExecuTorch cannot load {path} ({error}); export it again with `cutonce export`."
            ) from error

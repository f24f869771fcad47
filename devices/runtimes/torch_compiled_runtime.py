"""torch.compile: an exported program, compiled where it is loaded, for the processor that is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from devices.errors import DeviceError
from devices.runtimes import INPUTS
from devices.runtimes.torch_runtime import (
    TorchRuntime,
    TorchSession,
    import_torch,
    load_program,
    stored_precision,
    unloadable,
)

# A batch of 1 is compiled apart from larger ones.
_SHAPES = ((1, 8), (2, 8))


class TorchCompiledRuntime(TorchRuntime):
    """Loads ``.pt2`` files, which takes half a minute the first time on a machine; the precision is in
    the file."""

    def load(
        self,
        path: Path,
        precision: str,  # noqa: ARG002 - what the file's weights are stored in is what counts
        threads: int,
        alone: bool = True,  # noqa: ARG002 - its threads are not pinned
    ) -> TorchSession:
        torch = import_torch()
        program = load_program(path)
        _require_compiler(path)
        with unloadable(path):
            # As many threads as the session asks for, not as compiled with.
            settings = {"cpp.dynamic_threads": True}
            compiled = torch.compile(program.module(), dynamic=True, options=settings)
            inputs = program.graph_signature.user_inputs
            session = TorchSession(compiled, inputs, stored_precision(program), threads)
            for shape in _SHAPES:
                session.run({name: np.zeros(shape, np.int64) for name in INPUTS})
        return session


def _require_compiler(path: Path) -> None:
    """Raises DeviceError where there is none."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise DeviceError(
            f"torch needs a C++ compiler to load {path}: install g++, or name one in CXX."
        ) from error

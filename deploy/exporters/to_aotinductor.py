"""Native code by torch's ahead-of-time compiler, in a package (``.pt2``) that torch loads without one."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch._inductor.exc import InvalidCxxCompiler

from deploy.encoder import Encoder
from deploy.exporters import Exported
from deploy.exporters.staging import silence, staged
from deploy.exporters.to_torch import TorchExporter
from devices.errors import MissingDependency
from devices.runtimes import Arrays
from devices.runtimes import torch_aotinductor_runtime as package
from devices.runtimes.torch_runtime import load_program, stored_precision

# Unasked, the compiler writes for the very processor that it runs on: elsewhere that code may hold
# instructions which end the process. Every x86 processor of the last ten years has these. On other
# machines it is left to do so, and only the kind of machine is compared where the code is loaded.
_PORTABLE = {"x86_64": ({"cpp.simdlen": 256, "cpp.march": "x86-64-v3"}, ("avx2", "fma3"))}


class AotInductorExporter:
    """``aotinductor/model.pt2`` and ``model_bf16.pt2``, compiled from the programs in ``torch``."""

    calibrated: tuple[str, ...] = ()

    def export(
        self, encoder: Encoder, precision: str, directory: Path, calibration: Sequence[Arrays]
    ) -> Exported:
        source = TorchExporter().export(encoder, precision, directory, calibration).path
        path = directory / "aotinductor" / source.name
        if not path.exists():
            with staged([path]) as (place,), silence():
                _compile(load_program(source), place)
        return Exported(path, (path,))


def _compile(program: Any, path: Path) -> None:
    """Raises MissingDependency where there is no C++ compiler."""
    settings, instructions = _PORTABLE.get(platform.machine(), ({}, ()))
    said = {
        package.PRECISION: stored_precision(program),
        package.INSTRUCTIONS: ",".join(instructions),
    }
    settings = {
        **settings,
        "cpp.dynamic_threads": True,  # as many as the session asks for, not as compiled with
        "aot_inductor.metadata": said,
    }
    try:
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(path), inductor_configs=settings
        )
    except InvalidCxxCompiler as error:
        raise MissingDependency(
            "torch's ahead-of-time compiler needs a C++ compiler: install g++, or name one in CXX."
        ) from error

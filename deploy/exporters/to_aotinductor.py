"""Native code by torch's ahead-of-time compiler, in a package (``.pt2``) that torch loads without one."""

from __future__ import annotations

import platform
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch._inductor.exc import InvalidCxxCompiler
from torch._inductor.runtime.cache_dir_utils import cache_dir

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
_PORTABLE = {"x86_64": ("x86-64-v3", 256, ("avx2", "fma3"))}

_PLACES = (cache_dir(), str(Path(torch.__file__).parents[1]))  # of what is compiled, and of headers


class AotInductorExporter:
    """``aotinductor/model.pt2`` and ``model_bf16.pt2``, compiled from the programs in ``torch``."""

    calibrated: tuple[str, ...] = ()

    def export(
        self, encoder: Encoder, precision: str, directory: Path, calibration: Sequence[Arrays]
    ) -> Exported:
        source = TorchExporter().export(encoder, precision, directory, calibration).path
        path = directory / "aotinductor" / source.name
        if not path.exists():
            with staged([path]) as (place,), silence(), TemporaryDirectory() as scratch:
                whole = Path(scratch) / path.name
                _compile(load_program(source), whole)
                _strip(whole, place)
        return Exported(path, (path,), directory)


def _compile(program: Any, path: Path) -> None:
    """Raises MissingDependency where there is no C++ compiler."""
    machine, bits, instructions = _PORTABLE.get(platform.machine(), ("", 0, ()))
    said = {
        package.PRECISION: stored_precision(program),
        package.INSTRUCTIONS: ",".join(instructions),
    }
    settings: dict[str, Any] = {
        "cpp.dynamic_threads": True,  # as many as the session asks for, not as compiled with
        "aot_inductor.enable_line_tables": False,  # for debuggers, and most of the file
        "aot_inductor.metadata": said,
    }
    if machine:
        # The one setting that reaches the compiler's command as it is: the code names its sources in
        # what it says of errors, and where they lie is nobody's business.
        flags = [machine, *(f"-ffile-prefix-map={place}=." for place in _PLACES)]
        settings |= {"cpp.simdlen": bits, "cpp.march": " ".join(flags)}
    try:
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(path), inductor_configs=settings
        )
    except InvalidCxxCompiler as error:
        raise MissingDependency(
            "torch's ahead-of-time compiler needs a C++ compiler: install g++, or name one in CXX."
        ) from error


def _strip(package: Path, path: Path) -> None:
    """Leave out what running takes no part in, and differs each time: the sources, and a random id."""
    with zipfile.ZipFile(package) as whole, zipfile.ZipFile(path, "w") as stripped:
        for entry in whole.infolist():
            if not entry.filename.endswith((".cpp", "/serialization_id")):
                stripped.writestr(zipfile.ZipInfo(entry.filename), whole.read(entry))

"""torch's ahead-of-time compiler: native code for one kind of processor, which torch loads and runs."""

from __future__ import annotations

import json
import platform
import zipfile
from pathlib import Path

from devices.errors import DeviceError
from devices.runtimes import INPUTS
from devices.runtimes.torch_runtime import TorchRuntime, TorchSession, import_torch, unloadable

PRECISION = "cutonce_precision"
INSTRUCTIONS = "cutonce_instructions"
"""Entries of a package's metadata: what it computes in, and the instruction sets that its code needs, as
``torch.cpu.get_capabilities`` names them, comma-separated."""


class AotInductorRuntime(TorchRuntime):
    """Loads packages (``.pt2``) of compiled code; the precision is in the file."""

    def load(
        self,
        path: Path,
        precision: str,  # noqa: ARG002 - what was compiled is what counts
        threads: int,
        alone: bool = True,  # noqa: ARG002 - its threads are not pinned
    ) -> TorchSession:
        torch = import_torch()
        with unloadable(path):
            said = _metadata(path)
            computes = said[PRECISION]
        _require_processor(path, said)
        with unloadable(path):
            model = torch._inductor.aoti_load_package(str(path))
        return TorchSession(model, INPUTS, computes, threads)


def _metadata(path: Path) -> dict[str, str]:
    """What a package says of itself, read without loading its code."""
    with zipfile.ZipFile(path) as package:
        names = [name for name in package.namelist() if name.endswith("wrapper_metadata.json")]
        found: dict[str, str] = json.loads(package.read(names[0]))
        return found


def _require_processor(path: Path, said: dict[str, str]) -> None:
    """Raises DeviceError where the code holds instructions that are not known here: running it would
    end the process."""
    import torch

    needed = {said["AOTI_MACHINE"], *filter(None, said[INSTRUCTIONS].split(","))}
    here = {name for name, known in torch.cpu.get_capabilities().items() if known}
    missing = needed - here - {platform.machine()}
    if missing:
        raise DeviceError(
            f"{path} is compiled for a processor with {', '.join(sorted(missing))}, and this is none; "
            "export it here, or choose another runtime."
        )

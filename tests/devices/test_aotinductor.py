"""What a package of compiled code says of itself is read before its code is."""

from __future__ import annotations

import json
import platform
import zipfile
from pathlib import Path

import pytest

from devices.errors import DeviceError
from devices.runtimes.torch_aotinductor_runtime import AotInductorRuntime


@pytest.mark.parametrize(
    ("machine", "instructions", "named"),
    [("vax", "", "vax"), (platform.machine(), "avx2048", "avx2048"), ("vax", "avx2048", "vax")],
)
def test_code_for_another_processor_is_refused_unseen(
    tmp_path: Path, machine: str, instructions: str, named: str
) -> None:
    said = {
        "AOTI_MACHINE": machine,
        "cutonce_precision": "f32",
        "cutonce_instructions": instructions,
    }
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as package:  # no code is in it, and none is asked for
        package.writestr("model/data/aotinductor/model/abc.wrapper_metadata.json", json.dumps(said))
    with pytest.raises(DeviceError, match=f"model.pt2 is compiled for a processor with .*{named}"):
        AotInductorRuntime().load(path, "fp32", 1)

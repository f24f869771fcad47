"""OpenVINO on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from devices.errors import DeviceError, MissingDependency
from devices.offline import silence_telemetry
from devices.packages import installed_version
from devices.runtimes import Arrays

# OpenVINO computes in bf16 by itself where the CPU can; the hint says what was asked for. An int8
# file carries its own quantisation, f32 is what its remaining operators compute in.
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32", "int8-bf16": "bf16"}


class OpenVinoSession:
    """One compiled model with one infer request."""

    clock = None
    settle_ms = 0.0

    def __init__(self, compiled: Any, precision: str) -> None:
        self.precision = precision
        self._request = compiled.create_infer_request()
        self._inputs = [entry.get_any_name() for entry in compiled.inputs]
        self._outputs = list(compiled.outputs)

    def run(self, inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        results = self._request.infer({name: inputs[name] for name in self._inputs})
        return [np.asarray(results[output], dtype=np.float32) for output in self._outputs]


class OpenVinoRuntime:
    """Loads ``.xml`` files; fp32 and bf16 share one file and differ in the hint."""

    packages = ("openvino",)
    precisions = ("fp32", "bf16", "int8", "int8-bf16")
    gpu = False
    stands_for = ""
    install = 'pip install "cutonce[openvino]"'

    def version(self) -> str | None:
        return installed_version(self.packages[0])

    def load(self, path: Path, precision: str, threads: int, alone: bool = True) -> OpenVinoSession:
        silence_telemetry()
        try:
            import openvino
        except ImportError as error:
            raise MissingDependency(
                'OpenVINO is not installed: pip install "cutonce[openvino]".'
            ) from error
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            # Pinned, the threads of every copy would take turns on the same cores.
            "ENABLE_CPU_PINNING": alone,
        }
        try:
            core = openvino.Core()
            model = core.read_model(str(path))
            compiled = core.compile_model(model, "CPU", settings)
        except Exception as error:  # OpenVINO's exception types are not public
            raise DeviceError(
                f"OpenVINO cannot load {path} ({error}); export it again with `cutonce export`."
            ) from error
        return OpenVinoSession(compiled, _precision(model, compiled))


def _precision(model: Any, compiled: Any) -> str:
    """What is really computed in: the file's quantisation, and the hint that was granted."""
    rest = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    if any(operation.get_type_name() == "FakeQuantize" for operation in model.get_ops()):
        return "int8" if rest == "f32" else f"int8-{rest}"
    return rest

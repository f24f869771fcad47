"""onnxruntime on the CPU."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from devices.errors import DeviceError, MissingDependency
from devices.offline import silence_telemetry
from devices.packages import installed_version
from devices.runtimes import Arrays

_QUANTISED = (b"MatMulInteger", b"DynamicQuantizeLinear", b"QLinearMatMul", b"DequantizeLinear")


class OnnxSession:
    """One inference session."""

    clock = None
    settle_ms = 0.0

    def __init__(self, session: Any, precision: str) -> None:
        self.precision = precision
        self._session = session
        self._inputs = [entry.name for entry in session.get_inputs()]

    def run(self, inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        answers = self._session.run(None, {name: inputs[name] for name in self._inputs})
        return [np.asarray(answer, dtype=np.float32) for answer in answers]


class OnnxRuntime:
    """Loads ``.onnx`` files; the precision is in the file."""

    packages = ("onnxruntime",)
    precisions: tuple[str, ...] = ("fp32", "int8", "int8-static", "int8-reduced")
    gpu = False
    stands_for = ""
    install = "pip install onnxruntime"

    def version(self) -> str | None:
        return installed_version(self.packages[0])

    def load(
        self,
        path: Path,
        precision: str,  # noqa: ARG002 - which operators the file holds is what counts
        threads: int,
        alone: bool = True,  # noqa: ARG002 - its threads are not pinned
    ) -> OnnxSession:
        silence_telemetry()
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependency(
                "onnxruntime is not installed: pip install onnxruntime."
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that keep spinning after a run take the cores from whatever is measured next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            quantised = holds_quantised(path)
        except Exception as error:  # onnxruntime's exception types are not public
            raise DeviceError(
                f"onnxruntime cannot load {path} ({error}); export it again with `cutonce export`."
            ) from error
        return OnnxSession(session, "int8" if quantised else "f32")


class OnnxRuntimeMobile(OnnxRuntime):
    """Loads ``.ort`` files, in which the graph is as it was optimised when it was exported. A reduced
    build of onnxruntime takes these alone; the whole one takes them too."""

    precisions = ("fp32", "int8")


def holds_quantised(path: Path) -> bool:
    """Whether a quantised operator is in the file; the session itself does not tell."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return any(data.find(name) >= 0 for name in _QUANTISED)

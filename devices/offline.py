"""Nothing touches the network unless the user names something that lives there.

onnxruntime (since 1.29, on Linux too), OpenVINO and NNCF report their use to their makers by
default.
"""

from __future__ import annotations

import os
import sys


def silence_telemetry() -> None:
    """Call before the first import of onnxruntime, openvino or nncf in a process."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # OpenVINO and NNCF go without where this package cannot be imported; they have no switch.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

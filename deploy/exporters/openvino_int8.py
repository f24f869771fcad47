"""int8 for OpenVINO by NNCF: post-training quantisation for transformers with SmoothQuant, and where that
costs too much of the answers, without it under accuracy control."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deploy.calibration import enough
from deploy.exporters.staging import silence
from devices.errors import UsageError
from devices.runtimes import Arrays

SUBSET = 128
"""Calibration batches used at most; more changes the scales little and the time much."""
STRAY = 0.1
"""How far the answers to the calibration texts may go from those of fp32, as a share of their size."""

# NNCF 3.4 fixes the length of depthwise convolutions at that of the calibration batches: another length
# then gives an empty answer. They are a small part of the work.
_UNQUANTISED = ("GroupConvolution",)

_PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}

_Item = tuple[Arrays, np.ndarray[Any, Any]]


def quantised(openvino: Any, nncf: Any, source: Path, calibration: Sequence[Arrays]) -> Any:
    """The 8-bit twin of the model in the file ``source``.

    Where it takes the answers to the calibration texts further than :data:`STRAY` from those of fp32,
    the operators that do most of that are left in fp32. Texts that are too few for a file that ships
    are for measuring latency, where answers mean nothing.

    Raises:
        UsageError: there are no calibration batches.
    """
    if not calibration:
        raise UsageError(
            "OpenVINO int8 needs calibration batches to find its scales; give some of the task's "
            "texts (--data), or random ids where only latency counts."
        )
    used = [dict(batch) for batch in calibration[:SUBSET]]
    texts = nncf.Dataset(used)
    settings = {
        "model_type": nncf.ModelType.TRANSFORMER,
        "ignored_scope": nncf.IgnoredScope(types=list(_UNQUANTISED), validate=False),
        "subset_size": len(used),
    }
    with silence():
        core = openvino.Core()
        model = core.read_model(source)
        smoothed = nncf.quantize(model, texts, **settings)
        if not enough(used):
            return smoothed
        precise = core.compile_model(model, "CPU", _PRECISE)
        items: list[_Item] = [(batch, precise(batch)[0].copy()) for batch in used]
        if _closeness(core.compile_model(smoothed, "CPU", _PRECISE), items)[0] >= 1 - STRAY:
            return smoothed
        return nncf.quantize_with_accuracy_control(
            model,
            texts,
            nncf.Dataset(items),
            _closeness,
            max_drop=STRAY,
            advanced_quantization_parameters=_unsmoothed(nncf),
            **settings,
        )


def _unsmoothed(nncf: Any) -> Any:
    """NNCF 3.4 gives operators that it leaves in fp32 the weights from before SmoothQuant, and still
    scales what they multiply as SmoothQuant asked: their products are then wrong."""
    parameters = nncf.quantization.advanced_parameters
    return parameters.AdvancedQuantizationParameters(
        smooth_quant_alphas=parameters.AdvancedSmoothQuantParameters(matmul=-1)
    )


def _closeness(compiled: Any, items: Iterable[_Item]) -> tuple[float, list[float]]:
    """One minus the root mean square of what the answers are off, over that of the wanted ones: of all
    items, and of each."""
    off, size = [], []
    for batch, wanted in items:
        off.append(float(np.square(compiled(batch)[0] - wanted).mean()))
        size.append(float(np.square(wanted).mean()))
    each = [1 - (some / max(own, 1e-12)) ** 0.5 for some, own in zip(off, size, strict=True)]
    return 1 - (sum(off) / max(sum(size), 1e-12)) ** 0.5, each

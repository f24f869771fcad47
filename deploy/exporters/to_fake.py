"""For the fake device: a graph to answer with, and the cost list its virtual clock goes by."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.architecture import Architecture, Attention
from deploy.costs import OperatorCost, costs
from deploy.encoder import Encoder
from deploy.exporters import Exported
from deploy.exporters.staging import staged
from deploy.exporters.to_onnx import export_graph
from deploy.workload import Workload
from devices.files import write_json
from devices.runtimes import Arrays


class FakeExporter:
    """``fake/model.onnx`` and ``model.costs.json``, or both as ``model_int8``.

    Both precisions answer with the fp32 graph; they differ in what the clock charges.
    """

    calibrated: tuple[str, ...] = ()

    def export(
        self,
        encoder: Encoder,
        precision: str,
        directory: Path,
        calibration: Sequence[Arrays],  # noqa: ARG002 - nothing here is quantised
    ) -> Exported:
        stem = "model" if precision == "fp32" else f"model_{precision}"
        path = directory / "fake" / f"{stem}.onnx"
        listed = path.with_suffix(".costs.json")
        if not path.exists():
            write_json(listed, cost_list(encoder.architecture, precision))
            with staged([path]) as (place,):
                shutil.copyfile(export_graph(encoder, directory), place)
        return Exported(path, (path, listed), directory)


def cost_list(architecture: Architecture, precision: str) -> dict[str, Any]:
    """Costs per token, so that the runtime can price any batch and length.

    ``linear`` holds the weight products [k, n, count] applied to every token (of the head: to every
    sequence); an attention adds 2·heads products of length² · head_dim per sequence.
    """
    embedding, *chain, head = costs(architecture, Workload(batch=1, length=1))
    operators = [_entry(embedding)]
    for cost, operator in zip(chain, architecture.operators, strict=True):
        if isinstance(operator, Attention):
            operators.append(_entry(cost, operator.heads, operator.head_dim))
        else:
            operators.append(_entry(cost))
    return {"schema": 1, "precision": precision, "operators": [*operators, _entry(head)]}


def _entry(cost: OperatorCost, heads: int = 0, head_dim: int = 0) -> dict[str, Any]:
    return {
        "kind": cost.kind,
        "linear": [[gemm.k, gemm.n, gemm.count] for gemm in cost.gemms if gemm.weights],
        "heads": heads,
        "head_dim": head_dim,
        "weights": cost.weights,
        "activations_per_token": cost.activations,
    }

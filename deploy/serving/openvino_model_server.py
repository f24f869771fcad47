"""The model repository of OpenVINO Model Server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.artifact import Artifact
from deploy.serving.versions import model_directory, require_runtime
from devices.errors import DataError
from devices.files import write_json

CONFIG = "config.json"


def write_openvino_model_server(artifact: Artifact, repository: Path, name: str) -> Path:
    """Write ``NAME/1/model.xml`` and ``.bin`` below ``repository``, and the model into its
    ``config.json``, beside the models that are there; returns ``NAME``.

    Serve it with ``ovms --config_path REPOSITORY/config.json``, beside which its paths are looked for.

    Raises:
        UsageError: the artifact is not for OpenVINO, in which the server would run it as it was proved.
        ArtifactChanged: a file of it is not the one that was written.
        DataError: there is a ``config.json`` that is not the server's.
    """
    require_runtime(artifact, "openvino", "OpenVINO Model Server")
    config = _with(_read(repository / CONFIG), _entry(artifact, name))
    with model_directory(artifact, repository / name):
        pass
    write_json(repository / CONFIG, config)
    return repository / name


def _entry(artifact: Artifact, name: str) -> dict[str, Any]:
    target = artifact.target
    plugin = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": target.threads * target.streams,  # of all streams together
        "NUM_STREAMS": target.streams,
        # Without the hint OpenVINO computes in bf16 wherever the processor can.
        "INFERENCE_PRECISION_HINT": "bf16" if target.precision.endswith("bf16") else "f32",
    }
    return {"name": name, "base_path": name, "plugin_config": plugin}


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"model_config_list": []}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = [entry["config"]["name"] for entry in found["model_config_list"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not the list of models of an OpenVINO Model Server ({type(error).__name__}: "
            f"{error}); mend it, or name another directory."
        ) from error
    return found


def _with(config: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """``entry`` in place of one of the same name."""
    others = [
        some for some in config["model_config_list"] if some["config"]["name"] != entry["name"]
    ]
    return {**config, "model_config_list": [*others, {"config": entry}]}

"""The model of one artifact, loaded, as the Open Inference Protocol asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from queue import SimpleQueue
from threading import Lock
from typing import Any

import numpy as np
from pydantic import BaseModel

from deploy.artifact import Artifact
from deploy.inputs import checked
from deploy.serving.versions import VERSION
from devices.errors import UsageError
from devices.runtimes import Session

_GPU = Lock()
DATATYPES = {"int64": "INT64", "float32": "FP32"}


class Tensor(BaseModel):
    """An input of a request; ``data`` in row order, nested or not."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class Request(BaseModel):
    """What is asked of a model."""

    id: str | None = None
    inputs: list[Tensor]


class Served:
    """Loaded as often as the artifact's target has streams: so many requests run at once. Models on a
    GPU take turns.

    Args:
        alone: whether nothing else is served beside it, with which it would have to share the cores.

    Raises:
        ArtifactChanged: a file of the artifact is not the one that was written.
        DeviceError, MissingDependency: it cannot be loaded here.
    """

    def __init__(self, artifact: Artifact, *, alone: bool = True) -> None:
        self._artifact, self._target = artifact, artifact.target
        streams = self._target.streams
        self._sessions: SimpleQueue[Session] = SimpleQueue()
        for _ in range(streams):
            self._sessions.put(artifact.load(alone=alone and streams == 1))

    def metadata(self, name: str) -> dict[str, Any]:
        """What the model is called and takes; -1 is a size that varies."""
        signature = self._artifact.manifest["signature"]

        def described(entry: Mapping[str, Any]) -> dict[str, Any]:
            shape = [size if isinstance(size, int) else -1 for size in entry["shape"]]
            return {"name": entry["name"], "datatype": DATATYPES[entry["dtype"]], "shape": shape}

        return {
            "name": name,
            "versions": [VERSION],
            "platform": f"{self._target.runtime}_{self._target.precision}",
            "inputs": [described(entry) for entry in signature["inputs"]],
            "outputs": [described(entry) for entry in signature["outputs"]],
        }

    def infer(self, name: str, request: Request) -> dict[str, Any]:
        """The answer to one request. Raises UsageError where its inputs are not the model's."""
        given = {tensor.name: _array(tensor) for tensor in request.inputs}
        inputs = checked(self._artifact.architecture, given)
        with self._session() as session:
            answers = session.run(inputs)
        described = self._artifact.manifest["signature"]["outputs"]
        outputs = [
            {
                "name": entry["name"],
                "shape": list(answer.shape),
                "datatype": DATATYPES[entry["dtype"]],
                "data": answer.ravel().tolist(),
            }
            for entry, answer in zip(described, answers, strict=True)
        ]
        answer = {"model_name": name, "model_version": VERSION, "outputs": outputs}
        return answer if request.id is None else {"id": request.id, **answer}

    @contextmanager
    def _session(self) -> Iterator[Session]:
        session = self._sessions.get()
        try:
            # A graph cannot be captured while another thread uses the GPU.
            with _GPU if self._target.gpu else nullcontext():
                yield session
        finally:
            self._sessions.put(session)


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    if tensor.datatype != "INT64":
        raise UsageError(f"{tensor.name} has datatype {tensor.datatype!r}; expected INT64.")
    try:
        array = np.array(tensor.data)
        if array.dtype.kind != "i":
            raise ValueError(f"it holds {array.dtype}")
        return array.astype(np.int64).reshape(tensor.shape)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{tensor.name} is no array of integers of shape {tensor.shape}: {error}."
        ) from error

"""The model of one artifact, loaded, as the Open Inference Protocol asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
from pydantic import BaseModel

from deploy.artifact import Artifact
from deploy.serving.versions import VERSION
from devices.errors import UsageError
from devices.runtimes import RUNTIMES, Session

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
    """Loaded as often as the artifact's target has streams: so many requests run at once.

    Raises:
        ArtifactChanged: a file of the artifact is not the one that was written.
        DeviceError, MissingDependency: it cannot be loaded here.
    """

    def __init__(self, artifact: Artifact) -> None:
        artifact.check_hashes()
        self._artifact, self._target = artifact, artifact.target
        runtime, path = RUNTIMES.get(self._target.runtime)(), artifact.exported.path
        precision, threads, streams = (
            self._target.precision, self._target.threads, self._target.streams,
        )  # fmt: skip
        self._sessions: SimpleQueue[Session] = SimpleQueue()
        for _ in range(streams):
            self._sessions.put(runtime.load(path, precision, threads, alone=streams == 1))

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
        inputs = self._inputs({tensor.name: tensor for tensor in request.inputs})
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
            yield session
        finally:
            self._sessions.put(session)

    def _inputs(self, given: Mapping[str, Tensor]) -> dict[str, Any]:
        """int64 [batch, sequence] by name; a mask of ones and types of zeros where none are given."""
        architecture = self._artifact.architecture
        # A runtime may read whatever lies behind its tables.
        limits = {
            "input_ids": architecture.vocabulary,
            "attention_mask": 2,
            "token_type_ids": max(2, architecture.token_types),
        }
        if "input_ids" not in given or not set(given) <= set(limits):
            raise UsageError(
                f"The inputs are {sorted(given)}; expected input_ids and, if need be, attention_mask "
                "and token_type_ids."
            )
        found = {name: _array(tensor) for name, tensor in given.items()}
        ids = found["input_ids"]
        if ids.ndim != 2 or not len(ids) or not 0 < ids.shape[1] <= architecture.positions:
            raise UsageError(
                f"input_ids has shape {list(ids.shape)}; expected [batch, sequence] with 1 to "
                f"{architecture.positions} tokens."
            )
        for name, array in found.items():
            if array.shape != ids.shape:
                raise UsageError(
                    f"{name} has shape {list(array.shape)}; expected that of input_ids, "
                    f"{list(ids.shape)}."
                )
            if array.min() < 0 or array.max() >= limits[name]:
                raise UsageError(
                    f"{name} holds {array.min()} to {array.max()}; expected 0 to {limits[name] - 1}."
                )
        whole = {"attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return whole | found


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

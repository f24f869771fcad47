"""TensorRT on an NVIDIA GPU: an engine built from ONNX on its first load, replayed as a CUDA graph."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from devices.errors import DeviceError, MissingDependency
from devices.packages import installed_version
from devices.runtimes.torch_cuda_runtime import CudaSession, require_gpu

PROFILES = "profiles.json"

Shapes = Mapping[str, Mapping[str, Sequence[int]]]
"""By input, and by ``min``, ``opt`` and ``max``."""


class TensorRtRuntime:
    """Loads ``.onnx`` files beside which ``profiles.json`` says for what shapes; the precision is in the
    file. Engines are kept in the user's cache, under what they are bound to."""

    packages = ("tensorrt", "torch")
    precisions = ("fp16", "bf16", "int8")
    gpu = True
    stands_for = ""
    install = (
        "an NVIDIA GPU with its driver, torch for CUDA (https://pytorch.org), pip install tensorrt"
    )

    def version(self) -> str | None:
        return installed_version(self.packages[0])

    def load(
        self,
        path: Path,
        precision: str,  # noqa: ARG002 - what the graph's layers give is what counts
        threads: int,  # noqa: ARG002 - the work is the GPU's
        alone: bool = True,  # noqa: ARG002
    ) -> CudaSession:
        require_gpu()
        try:
            import tensorrt
        except ImportError as error:
            raise MissingDependency("TensorRT is not installed: pip install tensorrt.") from error
        import torch

        bound = f"{tensorrt.__version__} {torch.cuda.get_device_name()}"
        place = _kept(path, bound)
        said = place.with_suffix(".json")  # written first: where the engine is, it is too
        if not place.exists():
            shapes = json.loads(path.with_name(PROFILES).read_text())
            plan, computes = build_engine(tensorrt, path, shapes)
            _keep(said, json.dumps({"precision": computes}).encode())
            _keep(place, plan)
        runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        engine = runtime.deserialize_cuda_engine(place.read_bytes())
        if engine is None:
            raise DeviceError(
                f"TensorRT cannot load {place}, which it built; remove it and repeat."
            )
        module = _Engine(engine)
        return CudaSession(module, module.inputs, json.loads(said.read_text())["precision"])


def build_engine(
    trt: Any, path: Path, shapes: Shapes, configure: Callable[[Any], None] = lambda _: None
) -> tuple[bytes, str]:
    """The engine of an ONNX file, serialised, and what it computes in: ``f32``, ``f16``, ``bf16`` or
    ``int8``.

    Args:
        trt: TensorRT's Python module, or TensorRT-RTX's.
        shapes: those that inputs may have.
        configure: is given the builder's configuration, to add to it.

    Raises:
        DeviceError: the parser or the compiler refuses the graph.
    """
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    # Strongly typed, which is the only way since version 11, and which 10 has to be asked for.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        reasons = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise DeviceError(f"TensorRT {trt.__version__} does not take {path}: {reasons}.")
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for name, some in shapes.items():
        profile.set_shape(name, some["min"], some["opt"], some["max"])
    config.add_optimization_profile(profile)
    configure(config)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise DeviceError(f"TensorRT {trt.__version__} cannot build an engine of {path}.")
    return bytes(plan), _computes(trt, network)


def _computes(trt: Any, network: Any) -> str:
    """The narrowest type of what the layers of a strongly typed network give."""
    outputs = [
        layer.get_output(i).dtype
        for layer in (network.get_layer(n) for n in range(network.num_layers))
        for i in range(layer.num_outputs)
    ]
    narrow = {"int8": trt.int8, "f16": trt.float16, "bf16": trt.bfloat16}
    return next((name for name, dtype in narrow.items() if dtype in outputs), "f32")


class _Engine:
    """An engine as a CudaSession calls it: tensors on the GPU to one there, on its current stream.

    Every shape has an execution context of its own, to whose state a captured graph is tied.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._contexts: dict[tuple[int, ...], Any] = {}
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self.inputs = [name for name in names if engine.get_tensor_mode(name).name == "INPUT"]
        [self._output] = [name for name in names if name not in self.inputs]

    def __call__(self, *given: Any) -> Any:
        import torch

        context = self._context(tuple(given[0].shape))
        for name, tensor in zip(self.inputs, given, strict=True):
            context.set_tensor_address(name, tensor.data_ptr())
        shape = tuple(context.get_tensor_shape(self._output))
        answer = torch.empty(shape, dtype=torch.float32, device="cuda")
        context.set_tensor_address(self._output, answer.data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise DeviceError(f"TensorRT could not run inputs of shape {list(given[0].shape)}.")
        return answer

    def _context(self, shape: tuple[int, ...]) -> Any:
        if shape not in self._contexts:
            context = self._engine.create_execution_context()
            if context is None:
                raise DeviceError(
                    "TensorRT has no memory for another shape of inputs; run fewer shapes in a process."
                )
            for name in self.inputs:
                if not context.set_input_shape(name, shape):
                    least, _, most = self._engine.get_tensor_profile_shape(name, 0)
                    raise DeviceError(
                        f"{name} has shape {list(shape)}, and the engine was built for {list(least)} to "
                        f"{list(most)}; take a smaller --batch or --length."
                    )
            self._contexts[shape] = context
        return self._contexts[shape]


def _keep(place: Path, data: bytes) -> None:
    """Write a file of the cache whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f".{place.name}.{os.getpid()}")
    unfinished.write_bytes(data)
    unfinished.replace(place)


def _kept(path: Path, bound: str) -> Path:
    """Where the engine of a file lies, for a release and a GPU."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(path.read_bytes() + path.with_name(PROFILES).read_bytes())
    digest.update(bound.encode())
    return cache / "cutonce" / "tensorrt" / f"{digest.hexdigest()}.plan"

"""Run this model on some text, on this machine.

    python run.py "some text" "another text"
    python run.py "a premise" --pair "a hypothesis"
    python run.py "some text" --time 100

Needs numpy, tokenizers and the runtime that manifest.json names, and nothing of what made the
model. Prints one JSON object per text, with what the model is for: a label and its probability,
labels, a value, tagged words, the answer found in --pair, the tokens behind [MASK], or an embedding.
With --time, one more object with the median latency of the whole batch.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
Arrays = dict[str, Any]
Run = Callable[[Arrays], Any]


def load_onnxruntime(path: str, target: dict[str, Any]) -> Run:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = target["threads"]
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return lambda inputs: session.run(None, {name: inputs[name] for name in names})[0]


def load_openvino(path: str, target: dict[str, Any]) -> Run:
    # OpenVINO reports its use over the network unless this package cannot be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    # Without the hint OpenVINO computes in bf16 wherever the processor can.
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": target["threads"],
        "INFERENCE_PRECISION_HINT": "bf16" if target["precision"].endswith("bf16") else "f32",
    }
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    names = [entry.get_any_name() for entry in compiled.inputs]
    request = compiled.create_infer_request()
    return lambda inputs: request.infer({name: inputs[name] for name in names})[0].copy()


def load_torch(path: str, target: dict[str, Any]) -> Run:
    import torch

    torch.set_num_threads(target["threads"])
    return torch_module(torch.export.load(path).module(), "cpu")


def load_torch_compiled(path: str, target: dict[str, Any]) -> Run:
    """Compiles at the first text, which takes a while, and needs a C++ compiler."""
    import torch

    torch.set_num_threads(target["threads"])
    return torch_module(torch.compile(torch.export.load(path).module(), dynamic=True), "cpu")


def load_torch_aotinductor(path: str, target: dict[str, Any]) -> Run:
    import torch

    with zipfile.ZipFile(path) as package:
        [name] = [name for name in package.namelist() if name.endswith("wrapper_metadata.json")]
        said = json.loads(package.read(name))
    needed = {said["AOTI_MACHINE"], *filter(None, said["cutonce_instructions"].split(","))}
    here = {name for name, known in torch.cpu.get_capabilities().items() if known}
    missing = needed - here - {platform.machine()}
    if missing:  # its code would end this process
        sys.exit(f"{path} is compiled for a processor with {', '.join(missing)}; this is none.")
    torch.set_num_threads(target["threads"])
    return torch_module(torch._inductor.aoti_load_package(path), "cpu")


def load_executorch(path: str, target: dict[str, Any]) -> Run:
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    portable_lib._unsafe_reset_threadpool(target["threads"])
    method = Runtime.get().load_program(path).load_method("forward")
    most = method.metadata.input_tensor_meta(0).sizes()[0]

    def run(inputs: Arrays) -> Any:
        given = [torch.from_numpy(array) for array in inputs.values()]
        if len(given[0]) > most:
            sys.exit(
                f"{len(given[0])} texts at once; this program takes {most} at most: give fewer."
            )
        return method.execute(given)[0].numpy()

    return run


def load_torch_cuda(path: str, _target: dict[str, Any]) -> Run:
    import torch
    from torch.export.passes import move_to_device_pass

    if not torch.cuda.is_available():
        sys.exit("This model is for an NVIDIA GPU; torch sees none here.")
    return torch_module(move_to_device_pass(torch.export.load(path), "cuda").module(), "cuda")


def torch_module(module: Any, device: str) -> Run:
    import torch

    def run(inputs: Arrays) -> Any:
        with torch.inference_mode():
            given = (torch.from_numpy(array).to(device) for array in inputs.values())
            return module(*given).cpu().numpy()

    return run


def load_tensorrt(path: str, _target: dict[str, Any]) -> Run:
    """Builds the engine first, which takes a while; build.sh keeps one for programs of one's own."""
    import tensorrt
    import torch

    if not torch.cuda.is_available():
        sys.exit("This model is for an NVIDIA GPU; torch sees none here.")
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    flag = getattr(tensorrt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(path):
        reasons = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        sys.exit(f"TensorRT {tensorrt.__version__} does not take {path}: {reasons}.")
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    shapes = json.loads(Path(path).with_name("profiles.json").read_text(encoding="utf-8"))
    for name, some in shapes.items():
        profile.set_shape(name, some["min"], some["opt"], some["max"])
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        sys.exit(f"TensorRT {tensorrt.__version__} cannot build an engine of {path}.")
    engine = tensorrt.Runtime(logger).deserialize_cuda_engine(plan)
    context = engine.create_execution_context()

    def run(inputs: Arrays) -> Any:
        given = {name: torch.from_numpy(array).cuda() for name, array in inputs.items()}
        for name, tensor in given.items():
            if not context.set_input_shape(name, tuple(tensor.shape)):
                most = shapes[name]["max"]
                sys.exit(f"{name} has shape {list(tensor.shape)}; the engine takes {most} at most.")
            context.set_tensor_address(name, tensor.data_ptr())
        answer = torch.empty(tuple(context.get_tensor_shape("logits")), device="cuda")
        context.set_tensor_address("logits", answer.data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            sys.exit("TensorRT could not run these texts.")
        return answer.cpu().numpy()

    return run


RUNTIMES = {
    "onnxruntime": load_onnxruntime,
    "onnxruntime-mobile": load_onnxruntime,
    "onnxruntime-web": load_onnxruntime,  # a browser loads the same file
    "fake": load_onnxruntime,
    "openvino": load_openvino,
    "torch": load_torch,
    "torch-compiled": load_torch_compiled,
    "torch-aotinductor": load_torch_aotinductor,
    "torch-cuda": load_torch_cuda,
    "executorch": load_executorch,
    "tensorrt": load_tensorrt,
}


def encode(texts: Sequence[str], pairs: Sequence[str], signature: dict[str, Any]) -> list[Any]:
    """Tokens of every text, padded on the right to the longest."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    answers_within = signature["answer"] == "question-answering"
    strategy = "only_second" if answers_within and pairs else "longest_first"
    tokenizer.enable_truncation(signature["max_length"], strategy=strategy)
    tokenizer.enable_padding()
    given = list(zip(texts, pairs, strict=True)) if pairs else list(texts)
    return list(tokenizer.encode_batch(given))


def arrays(encoded: Sequence[Any]) -> Arrays:
    """int64 [texts, longest], in the order of the model's inputs."""
    columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    return {
        name: np.array([getattr(entry, column) for entry in encoded], dtype=np.int64)
        for name, column in columns.items()
    }


def classification(outputs: Any, labels: Sequence[str], **_: Any) -> dict[str, Any]:
    shares = softmax(outputs)
    best = int(shares.argmax())
    return {"label": labels[best], "probability": round(float(shares[best]), 6)}


def multi_label(outputs: Any, labels: Sequence[str], **_: Any) -> dict[str, Any]:
    shares = 1 / (1 + np.exp(-outputs))
    named = zip(labels, shares.tolist(), strict=True)
    return {"labels": {name: round(share, 6) for name, share in named if share > 0.5}}


def regression(outputs: Any, **_: Any) -> dict[str, Any]:
    return {"value": float(outputs[0])}


def embedding(outputs: Any, **_: Any) -> dict[str, Any]:
    return {"embedding": outputs.tolist()}


def token_classification(
    outputs: Any, labels: Sequence[str], entry: Any, text: str, **_: Any
) -> dict[str, Any]:
    words = []
    for word in re.finditer(r"\S+", text):
        own = (word.start() < end <= word.end() and start < end for start, end in entry.offsets)
        first = next((place for place, mine in enumerate(own) if mine), None)
        if first is not None:  # else it is beyond the model's length
            words.append({"word": word[0], "tag": labels[int(outputs[first].argmax())]})
    return {"words": words}


def question_answering(outputs: Any, entry: Any, pair: str, **_: Any) -> dict[str, Any]:
    places = np.array([i for i, part in enumerate(entry.sequence_ids) if part == 1])
    if not len(places):
        sys.exit("A question is answered from a text; give that with --pair.")
    shares = [softmax(outputs[places, side]) for side in (0, 1)]
    apart = places[None, :] - places[:, None]
    both = shares[0][:, None] * shares[1][None, :] * ((apart >= 0) & (apart < LONGEST_ANSWER))
    first, last = np.unravel_index(int(both.argmax()), both.shape)
    start, end = entry.offsets[places[first]][0], entry.offsets[places[last]][1]
    return {"answer": pair[start:end], "probability": round(float(both[first, last]), 6)}


def masked_language_model(outputs: Any, entry: Any, **_: Any) -> dict[str, Any]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    hidden = [i for i, token in enumerate(entry.tokens) if token in MASKS]
    best = [int(outputs[place].argmax()) for place in hidden]
    return {"tokens": [tokenizer.id_to_token(token) for token in best]}


def softmax(logits: Any) -> Any:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


MASKS = ("[MASK]", "<mask>")
LONGEST_ANSWER = 30  # tokens
ANSWERS: dict[str, Callable[..., dict[str, Any]]] = {
    "classification": classification,
    "multi-label": multi_label,
    "regression": regression,
    "embedding": embedding,
    "token-classification": token_classification,
    "question-answering": question_answering,
    "masked-language-model": masked_language_model,
}


def check_hash(manifest: dict[str, Any]) -> None:
    """Refuse a model file that is not the one that was exported, before anything loads it."""
    [expected] = [f["sha256"] for f in manifest["files"] if f["path"] == manifest["model"]]
    if hashlib.sha256((HERE / manifest["model"]).read_bytes()).hexdigest() != expected:
        sys.exit(
            f"{manifest['model']} is not the file that manifest.json describes; export it again."
        )


def median_milliseconds(run: Run, inputs: Arrays, runs: int) -> float:
    for _ in range(3):
        run(inputs)
    taken = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        run(inputs)
        taken.append(time.perf_counter_ns() - start)
    return float(np.median(taken)) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="Run this model on some text.")
    parser.add_argument("texts", nargs="+", metavar="TEXT")
    parser.add_argument("--pair", nargs="+", default=[], metavar="TEXT", help="second texts")
    parser.add_argument("--time", type=int, default=0, metavar="N", help="median of N more runs")
    args = parser.parse_args()
    if args.pair and len(args.pair) != len(args.texts):
        parser.error(f"{len(args.texts)} texts need as many of --pair, not {len(args.pair)}.")
    manifest = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
    if not (HERE / "tokenizer.json").exists():
        parser.error("this model was shipped without a tokenizer; put its tokenizer.json here.")
    target, signature = manifest["target"], manifest["signature"]
    encoded = encode(args.texts, args.pair, signature)
    inputs = arrays(encoded)
    path = str(HERE / manifest["model"])
    check_hash(manifest)
    run = RUNTIMES[target["runtime"]](path, target)
    pairs = args.pair or [""] * len(args.texts)
    for outputs, entry, text, pair in zip(run(inputs), encoded, args.texts, pairs, strict=True):
        answer = ANSWERS[signature["answer"]](
            outputs, labels=manifest["label_names"], entry=entry, text=text, pair=pair
        )
        print(json.dumps({"text": text, **answer}, ensure_ascii=False))
    if args.time:
        batch, length = inputs["input_ids"].shape
        p50 = median_milliseconds(run, inputs, args.time)
        print(json.dumps({"p50_ms": p50, "runs": args.time, "batch": batch, "length": length}))


if __name__ == "__main__":
    main()

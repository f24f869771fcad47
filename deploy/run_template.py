"""Run this model on some text, on this machine.

    python run.py "some text" "another text"
    python run.py "a premise" --pair "a hypothesis"
    python run.py "some text" --time 100

Needs numpy, tokenizers and the runtime that manifest.json names, and nothing of what made the
model. Prints one JSON object per text: label and probability, or the embedding of a model without
labels. With --time, one more object with the median latency of the whole batch.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
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
        "INFERENCE_PRECISION_HINT": "bf16" if target["precision"] == "bf16" else "f32",
    }
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    names = [entry.get_any_name() for entry in compiled.inputs]
    request = compiled.create_infer_request()
    return lambda inputs: request.infer({name: inputs[name] for name in names})[0].copy()


def load_torch(path: str, target: dict[str, Any]) -> Run:
    import torch

    torch.set_num_threads(target["threads"])
    module = torch.export.load(path).module()

    def run(inputs: Arrays) -> Any:
        with torch.inference_mode():
            return module(*(torch.from_numpy(array) for array in inputs.values())).numpy()

    return run


RUNTIMES = {
    "onnxruntime": load_onnxruntime,
    "fake": load_onnxruntime,
    "openvino": load_openvino,
    "torch": load_torch,
}


def encode(texts: Sequence[str], pairs: Sequence[str], max_length: int) -> Arrays:
    """int64 [texts, longest], padded on the right, in the order of the model's inputs."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(zip(texts, pairs, strict=True)) if pairs else list(texts))
    columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    return {
        name: np.array([getattr(entry, column) for entry in encoded], dtype=np.int64)
        for name, column in columns.items()
    }


def answers(logits: Any, texts: Sequence[str], labels: Sequence[str]) -> list[dict[str, Any]]:
    if not labels:
        rows = zip(texts, logits.tolist(), strict=True)
        return [{"text": text, "embedding": row} for text, row in rows]
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    shares = weights / weights.sum(-1, keepdims=True)
    best = [(int(row.argmax()), float(row.max())) for row in shares]
    return [
        {"text": text, "label": labels[index], "probability": round(share, 6)}
        for text, (index, share) in zip(texts, best, strict=True)
    ]


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
    inputs = encode(args.texts, args.pair, signature["max_length"])
    path = str(HERE / manifest["model"])
    check_hash(manifest)
    run = RUNTIMES[target["runtime"]](path, target)
    for answer in answers(run(inputs), args.texts, manifest["label_names"]):
        print(json.dumps(answer, ensure_ascii=False))
    if args.time:
        batch, length = inputs["input_ids"].shape
        p50 = median_milliseconds(run, inputs, args.time)
        print(json.dumps({"p50_ms": p50, "runs": args.time, "batch": batch, "length": length}))


if __name__ == "__main__":
    main()

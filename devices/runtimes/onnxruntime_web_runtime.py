"""onnxruntime-web: WebAssembly, as a browser runs it, here in a Node process of its own.

Its answers are a browser's. Its times are not: another engine, another number of threads.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from devices.errors import DeviceError, MissingDependency
from devices.packages import module_version, node_module
from devices.runtimes import Arrays
from devices.runtimes.onnxruntime_runtime import holds_quantised

MODULE = "onnxruntime-web"
# One JSON line for each request and each answer; tensors are base64 of their bytes.
_SCRIPT = """
const [place, file, threads] = process.argv.slice(1);
const ort = require(place);
ort.env.wasm.numThreads = Number(threads);
const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\\n");
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64")).buffer;
(async () => {
  const graph = require("node:fs").readFileSync(file);
  const session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
  say({ inputs: session.inputNames });
  for await (const line of require("node:readline").createInterface({ input: process.stdin })) {
    const feeds = {};
    for (const [name, { shape, data }] of Object.entries(JSON.parse(line)))
      feeds[name] = new ort.Tensor("int64", new BigInt64Array(bytes(data)), shape);
    const found = await session.run(feeds);
    say({ outputs: session.outputNames.map((name) => ({
      shape: found[name].dims, data: Buffer.from(found[name].data.buffer).toString("base64"),
    })) });
  }
})().catch((error) => { say({ error: String(error.message || error) }); process.exit(1); });
"""


class WebSession:
    """One session in a Node process, which ends with it."""

    clock = None
    settle_ms = 0.0

    def __init__(self, process: subprocess.Popen[str], path: Path) -> None:
        self._process, self._path = process, path
        weakref.finalize(self, process.kill)
        self._inputs = self._answer()["inputs"]
        self.precision = "int8" if holds_quantised(path) else "f32"

    def run(self, inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        feeds = {
            name: {
                "shape": list(inputs[name].shape),
                "data": base64.b64encode(np.ascontiguousarray(inputs[name]).tobytes()).decode(),
            }
            for name in self._inputs
        }
        if self._process.stdin is not None:
            with suppress(OSError):  # where Node has ended, it has no answer either
                self._process.stdin.write(json.dumps(feeds) + "\n")
                self._process.stdin.flush()
        return [
            np.frombuffer(base64.b64decode(some["data"]), np.float32).reshape(some["shape"])
            for some in self._answer()["outputs"]
        ]

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        answer: dict[str, Any] = json.loads(line) if line else {"error": "Node ended"}
        if "error" in answer:
            raise DeviceError(
                f"onnxruntime-web cannot run {self._path} ({answer['error']}); export it again, or take "
                "another runtime."
            )
        return answer


class OnnxRuntimeWeb:
    """Loads ``.onnx`` files; the precision is in the file."""

    packages = ("onnxruntime",)
    precisions = ("fp32", "int8")
    gpu = False
    stands_for = "a browser"
    install = (
        "Node.js 20 or newer, npm install onnxruntime-web (found here, above, or in NODE_PATH)"
    )

    def version(self) -> str | None:
        return module_version(MODULE)

    def load(
        self,
        path: Path,
        precision: str,  # noqa: ARG002 - which operators the file holds is what counts
        threads: int,
        alone: bool = True,  # noqa: ARG002 - its threads are not pinned
    ) -> WebSession:
        node, place = shutil.which("node"), node_module(MODULE)
        if node is None or place is None:
            raise MissingDependency(f"onnxruntime-web is not installed: {self.install}.")
        process = subprocess.Popen(
            [node, "--eval", _SCRIPT, str(place), str(path), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return WebSession(process, path)

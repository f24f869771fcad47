"""The agent: loads exported files and times them, on whatever machine it was started on.

It travels as one zipapp and needs only the standard library, numpy and the runtime it is asked for.
One JSON object per line on standard input, one JSON answer per line on standard output:

    {"do": "load", "id", "runtime", "path", "precision", "threads", "batch", "length", "vocabulary",
     "seed"}                                        -> {"precision"}
    {"do": "visit", "id", "runs", "minimum_ms"}     -> {"ns": [...]}, and counters of a GPU
    {"do": "unload", "id"}                          -> {}
    {"do": "watch"}                                 -> {"wall", "compute", "memory", counters}
    {"do": "processor"}                             -> {"seconds"} of this process, since its start
    {"do": "stop"}                                  -> {}

What fails is answered as {"error": text}.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, perf_counter_ns, process_time
from typing import Any, BinaryIO

import numpy as np

from devices.counters import counters
from devices.errors import CutonceError
from devices.gpu import gpu_counters
from devices.runtimes import RUNTIMES, Session

_STACK, _SIDE = 16, 64  # three such stacks of float32 matrices fit into a level-2 cache
_MOST_BYTES = 256 * 2**20
_USUAL_CACHE = 32 * 2**20


class Agent:
    """The state of one agent process: what is loaded."""

    def __init__(self) -> None:
        self._loaded: dict[str, tuple[Session, dict[str, np.ndarray[Any, Any]]]] = {}
        self._on_gpu: set[str] = set()
        self._canaries: dict[str, Callable[[], object]] = {}  # made when first watched

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        request = dict(request)
        handler = getattr(self, f"_{request.pop('do')}")
        return handler(**request)

    def _load(
        self,
        id: str,
        runtime: str,
        path: str,
        precision: str,
        threads: int,
        batch: int,
        length: int,
        vocabulary: int,
        seed: int,
    ) -> dict[str, Any]:
        loader = RUNTIMES.get(runtime)()
        session = loader.load(Path(path), precision, threads)
        ids = np.random.default_rng(seed).integers(0, vocabulary, (batch, length), dtype=np.int64)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        self._loaded[id] = (session, inputs)
        if loader.gpu:
            self._on_gpu.add(id)
        return {"precision": session.precision}

    def _visit(self, id: str, runs: int, minimum_ms: float) -> dict[str, Any]:
        session, inputs = self._loaded[id]
        clock = session.clock or perf_counter_ns
        _settle(session, inputs)
        taken: list[int] = []
        spent = 0
        gc.disable()
        try:
            while len(taken) < runs or spent < 1e6 * minimum_ms:
                start = clock()
                session.run(inputs)
                taken.append(clock() - start)
                spent += taken[-1]
        finally:
            gc.enable()
        # At once: an idle GPU clocks down.
        return {"ns": taken, **(gpu_counters() if id in self._on_gpu else {})}

    def _unload(self, id: str) -> dict[str, Any]:
        del self._loaded[id]
        return {}

    def _watch(self) -> dict[str, Any]:
        """Milliseconds of both canaries, and what the machine says of itself."""
        if not self._canaries:
            self._canaries = {kind: make() for kind, make in _CANARIES.items()}
            for canary in self._canaries.values():
                canary()  # the first time pays for pages and code
        taken = {kind: _least_ms(canary) for kind, canary in self._canaries.items()}
        return {**taken, **counters(), "wall": monotonic()}

    def _processor(self) -> dict[str, Any]:
        return {"seconds": process_time()}


def _settle(session: Session, inputs: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Re-warm: the visits before this one emptied the caches, and an idle GPU clocks down."""
    began = perf_counter_ns()
    session.run(inputs)
    while perf_counter_ns() - began < 1e6 * session.settle_ms:
        session.run(inputs)


def _least_ms(work: Callable[[], object]) -> float:
    """The quickest of ten: on a shared processor the speed flickers within milliseconds, which a
    visit's own quickest run leaves out too. What lasts longer shows in all ten."""
    taken = []
    for _ in range(10):
        start = perf_counter_ns()
        work()
        taken.append(perf_counter_ns() - start)
    return min(taken) / 1e6


def _compute_canary() -> Callable[[], object]:
    """Matrix products in cache. So small that BLAS stays on one thread: the threads of its pool
    would go on spinning into the next visit."""
    left = np.random.default_rng(0).random((_STACK, _SIDE, _SIDE), dtype=np.float32)
    product = np.empty_like(left)
    return lambda: [np.matmul(left, left, out=product) for _ in range(8)]


def _memory_canary() -> Callable[[], object]:
    """One pass over more memory than the last-level cache holds, as far as 256 MB are that."""
    size = min(2 * _last_level_cache(), _MOST_BYTES)
    # Filled with values: untouched pages would all be the one zero page, and measure nothing.
    return np.ones(size // 8).sum


_CANARIES = {"compute": _compute_canary, "memory": _memory_canary}


def _last_level_cache() -> int:
    sizes = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    try:
        return max(
            (1024 * int(size.read_text().strip("K\n")) for size in sizes), default=_USUAL_CACHE
        )
    except (OSError, ValueError):
        return _USUAL_CACHE


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until ``stop`` or the end of input."""
    agent = Agent()
    for line in requests:
        request = json.loads(line)
        if request["do"] == "stop":
            return
        try:
            answer = agent.answer(request)
        except CutonceError as error:
            answer = {"error": str(error)}
        except Exception as error:  # whatever it is, the parent has to hear of it
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def main() -> None:
    # Runtimes print as they please; only the protocol may reach the pipe.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()

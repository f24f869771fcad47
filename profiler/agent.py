"""The agent: loads exported files and times them, on whatever machine it was started on.

It travels as one zipapp and needs only the standard library, numpy and the runtime it is asked for.
One JSON object per line on standard input, one JSON answer per line on standard output:

    {"do": "load", "id", "runtime", "path", "precision", "threads", "streams", "batch", "length",
     "vocabulary", "seed"}                          -> {"precision"}
    {"do": "visit", "id", "runs", "minimum_ms"}     -> {"ns": [...]} and {"uj"} per run, the latter
                                                       None where no meter can be read; GPU counters
    {"do": "unload", "id"}                          -> {}
    {"do": "claim", "owner"}                       -> {"holder"} of the device while this agent lives,
                                                       None where it is the owner now
    {"do": "watch"}                                 -> {"wall", "compute", "memory", counters}
    {"do": "processor"}                             -> {"seconds"} of this process, since its start
    {"do": "speed"}                                 -> {"macs", "bytes"}: 10⁹ a second of one core
    {"do": "memory"}                                -> {"peak_bytes"} of it, None where that is not told
    {"do": "stop"}                                  -> {}

What fails is answered as {"error": text}.
"""

from __future__ import annotations

import gc
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, perf_counter_ns, process_time
from typing import IO, Any, BinaryIO

import numpy as np

from devices.claim import claim
from devices.counters import counters, peak_bytes
from devices.energy import meters, microjoules
from devices.errors import CutonceError
from devices.gpu import gpu_counters
from devices.pipes import claim_output
from devices.runtimes import RUNTIMES, Session
from profiler.streams import side_by_side

_STACK, _SIDE = 16, 64  # three such stacks of float32 matrices fit into a level-2 cache
_MOST_BYTES = 256 * 2**20
_USUAL_CACHE = 32 * 2**20
_PRODUCTS = 8  # in a compute canary
_PROBE_SECONDS = 2.5  # of each canary, where their speed is asked for


class Agent:
    """The state of one agent process: what is loaded."""

    def __init__(self) -> None:
        self._loaded: dict[str, tuple[list[Session], dict[str, np.ndarray[Any, Any]]]] = {}
        self._on_gpu: set[str] = set()
        self._canaries: dict[str, Callable[[], object]] = {}  # made when first watched
        self._lock: IO[str] | None = None

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
        streams: int,
        batch: int,
        length: int,
        vocabulary: int,
        seed: int,
    ) -> dict[str, Any]:
        loader = RUNTIMES.get(runtime)()
        sessions = [
            loader.load(Path(path), precision, threads, alone=streams == 1) for _ in range(streams)
        ]
        ids = np.random.default_rng(seed).integers(0, vocabulary, (batch, length), dtype=np.int64)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        self._loaded[id] = (sessions, inputs)
        if loader.gpu:
            self._on_gpu.add(id)
        return {"precision": sessions[0].precision}

    def _visit(self, id: str, runs: int, minimum_ms: float) -> dict[str, Any]:
        sessions, inputs = self._loaded[id]
        for session in sessions:
            _settle(session, inputs)
        taken: list[int] = []
        spent = done = 0
        gpu = id in self._on_gpu
        before = meters(gpu)
        gc.disable()
        try:
            with side_by_side(sessions, inputs) as run:
                while len(taken) < runs or spent < 1e6 * minimum_ms:
                    nanoseconds, count = run()
                    taken.append(nanoseconds // count)
                    spent += nanoseconds
                    done += count
        finally:
            gc.enable()
        state = gpu_counters() if gpu else {}  # at once: an idle GPU clocks down
        used = microjoules(before, meters(gpu))
        return {"ns": taken, "uj": None if used is None else used / done, **state}

    def _unload(self, id: str) -> dict[str, Any]:
        del self._loaded[id]
        return {}

    def _claim(self, owner: str) -> dict[str, Any]:
        self._lock, holder = claim(owner)
        return {"holder": holder}

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

    def _speed(self) -> dict[str, Any]:
        compute, memory = (_fastest_ms(make()) for make in _CANARIES.values())
        macs = _PRODUCTS * _STACK * _SIDE**3
        return {"macs": macs / compute / 1e6, "bytes": _passed_bytes() / memory / 1e6}

    def _memory(self) -> dict[str, Any]:
        return {"peak_bytes": peak_bytes()}


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


def _fastest_ms(canary: Callable[[], object]) -> float:
    until, fastest = monotonic() + _PROBE_SECONDS, math.inf
    while monotonic() < until:
        fastest = min(fastest, _least_ms(canary))
    return fastest


def _compute_canary() -> Callable[[], object]:
    """Matrix products in cache. So small that BLAS stays on one thread: the threads of its pool
    would go on spinning into the next visit."""
    left = np.random.default_rng(0).random((_STACK, _SIDE, _SIDE), dtype=np.float32)
    product = np.empty_like(left)
    return lambda: [np.matmul(left, left, out=product) for _ in range(_PRODUCTS)]


def _memory_canary() -> Callable[[], object]:
    """One pass over more memory than the last-level cache holds, as far as 256 MB are that."""
    # Filled with values: untouched pages would all be the one zero page, and measure nothing.
    return np.ones(_passed_bytes() // 8).sum


def _passed_bytes() -> int:
    return min(2 * _last_level_cache(), _MOST_BYTES)


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
    serve(sys.stdin.buffer, claim_output())


if __name__ == "__main__":
    main()

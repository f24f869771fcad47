"""Many exports at once. Tracing is single-threaded Python, so processes make it faster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from deploy.architecture import Architecture
from deploy.calibration import random_batches
from deploy.exporters import Exported, check_variant, export_variant
from devices.errors import CutonceError, UsageError

if TYPE_CHECKING:
    from deploy.encoder import Encoder

CALIBRATION_LENGTH = 128


@dataclass(frozen=True)
class ExportRequest:
    """One export. int8 scales are taken from random ids, which do for measuring latency; what ships
    is exported with the task's texts by ``export_variant``.

    Attributes:
        source: an Architecture, built with random weights seeded from its digest, or a directory
            that Encoder.save_pretrained wrote.
        directory: the root that :mod:`deploy.exporters` describes; it belongs to this source alone.
    """

    source: Architecture | Path
    runtime: str
    precision: str
    directory: Path


class ExportPool:
    """Worker processes that carry out exports; a context manager that ends them.

    The workers start with the first exports that can share the work, and stay for the next ones,
    since importing torch takes longer than a small export. Idle, they take no processor time.
    """

    def __init__(self, workers: int = 2) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._processes: set[BaseProcess] = set()

    def export(
        self,
        requests: Sequence[ExportRequest],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Exported]:
        """Carry out ``requests``; the answers are in their order.

        Requests that share a directory are carried out one after another by one worker, and exports
        found there are not made again. A failure or an interrupt ends all workers at once; what was
        finished stays and is found next time.

        Args:
            progress: called with (done, total) as exports finish.

        Raises:
            UsageError: two sources for one directory, a runtime or precision that is not known.
            ModelError: a source directory does not hold an encoder.
            MissingDependency: an optional package is not installed.
        """
        groups = _by_directory(requests)
        exported: dict[int, Exported] = {}

        def finished(group: Sequence[int], results: Sequence[Exported]) -> None:
            exported.update(zip(group, results, strict=True))
            if progress is not None:
                progress(len(exported), len(requests))

        tasks = [[requests[i] for i in group] for group in groups]
        if self._pool is None and (len(groups) == 1 or self._workers == 1):
            for group, task in zip(groups, tasks, strict=True):
                finished(group, _export_group(task))
        elif groups:
            self._in_processes(groups, tasks, finished)
        return [exported[i] for i in range(len(requests))]

    def _in_processes(
        self,
        groups: Sequence[Sequence[int]],
        tasks: Sequence[Sequence[ExportRequest]],
        finished: Callable[[Sequence[int], Sequence[Exported]], None],
    ) -> None:
        before = set(multiprocessing.active_children())
        try:
            pool = self._started()
            futures = {
                pool.submit(_export_group, task): group
                for group, task in zip(groups, tasks, strict=True)
            }
            self._processes |= set(multiprocessing.active_children()) - before
            for future in as_completed(futures):
                finished(futures[future], future.result())
        except BaseException as error:
            self._processes |= set(multiprocessing.active_children()) - before
            self._kill()
            if isinstance(error, BrokenProcessPool):
                raise CutonceError(
                    "An export process ended unexpectedly, most often because memory ran out: export "
                    "fewer at once, or a smaller model. A script is run again by each of them: in one, "
                    'call this under `if __name__ == "__main__":`.'
                ) from error
            raise

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Spawned: forking a process in which torch has started threads can hang the child.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self._workers, mp_context=context, initializer=_start_worker
            )
        return self._pool

    def _kill(self) -> None:
        # A shutdown would wait for exports that nobody wants any more; a pool whose workers are
        # gone gives up at once.
        for process in self._processes:
            process.kill()
        self._processes.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __enter__(self) -> ExportPool:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if error is None and self._pool is not None:
            self._pool.shutdown()  # idle workers end at once, and in order
            self._processes.clear()
        self._kill()


def _by_directory(requests: Sequence[ExportRequest]) -> list[list[int]]:
    groups: dict[Path, list[int]] = {}
    for i, request in enumerate(requests):
        check_variant(request.runtime, request.precision)
        group = groups.setdefault(request.directory.resolve(), [])
        if group and requests[group[0]].source != request.source:
            raise UsageError(
                f"Two encoders are to be exported into {request.directory}; give each its own."
            )
        group.append(i)
    return list(groups.values())


def _start_worker() -> None:
    # Ctrl-C reaches the whole terminal group; the parent alone answers it, by ending the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    import torch
    from tqdm import tqdm

    # Its own lock is a semaphore between processes, which a killed worker leaves behind.
    tqdm.set_lock(threading.RLock())
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))


def _follow_parent() -> None:
    """End with the parent, also where it was killed and could end nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _export_group(requests: Sequence[ExportRequest]) -> list[Exported]:
    encoder = _encoder(requests[0].source)
    return [_export(encoder, request) for request in requests]


def _export(encoder: Encoder, request: ExportRequest) -> Exported:
    a = encoder.architecture
    calibration = random_batches(
        a.vocabulary,
        min(CALIBRATION_LENGTH, a.positions),
        token_types=a.token_types,
    )
    return export_variant(
        encoder, request.runtime, request.precision, request.directory, calibration
    )


def _encoder(source: Architecture | Path) -> Encoder:
    import torch

    from deploy.encoder import Encoder

    if isinstance(source, Path):
        return Encoder.from_pretrained(source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(source.digest, 16) % 2**63)
        return Encoder(source).eval()

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from deploy import export_pool
from deploy.architecture import Architecture
from deploy.encoder import Encoder
from deploy.export_pool import ExportPool, ExportRequest
from deploy.exporters import Exported
from devices.errors import ModelError, UnknownName, UsageError

TINY = Architecture(vocabulary=20, hidden=16, operators=(), positions=16, labels=2)
OTHER = Architecture(vocabulary=21, hidden=16, operators=(), positions=16, labels=2)


def export_many(
    requests: list[ExportRequest],
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> list[Exported]:
    with ExportPool(workers) as pool:
        return pool.export(requests, progress)


def load(path: Path) -> Encoder:
    return torch.export.load(path).module()


def test_answers_come_in_order_and_workers_and_what_is_there_stay(tmp_path: Path) -> None:
    requests = [
        ExportRequest(TINY, "torch", "fp32", tmp_path / "a"),
        ExportRequest(OTHER, "torch", "fp32", tmp_path / "b"),
        ExportRequest(TINY, "torch", "bf16", tmp_path / "a"),
    ]
    seen: list[tuple[int, int]] = []
    with ExportPool() as pool:
        exported = pool.export(requests, lambda done, total: seen.append((done, total)))
        before = [e.path.stat().st_mtime_ns for e in exported]
        workers = {process.pid for process in multiprocessing.active_children()}
        assert pool.export(requests) == exported
        assert {process.pid for process in multiprocessing.active_children()} == workers != set()
    assert multiprocessing.active_children() == []
    names = [str(e.path.relative_to(tmp_path)) for e in exported]
    assert names == ["a/torch/model.pt2", "b/torch/model.pt2", "a/torch/model_bf16.pt2"]
    assert all(file.is_file() for e in exported for file in e.files)
    assert sorted(seen) in ([(1, 3), (3, 3)], [(2, 3), (3, 3)])
    assert export_many(requests, workers=1) == exported
    assert [e.path.stat().st_mtime_ns for e in exported] == before


def test_random_weights_follow_from_the_digest_alone(tmp_path: Path) -> None:
    ids = torch.zeros(2, 4, dtype=torch.int64)
    logits = []
    for name, seed in (("a", 1), ("b", 2)):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        [exported] = export_many([ExportRequest(TINY, "torch", "fp32", tmp_path / name)])
        assert torch.equal(torch.get_rng_state(), state)
        logits.append(load(exported.path)(ids, torch.ones_like(ids), ids))
    assert torch.equal(*logits)


def test_a_saved_encoder_keeps_its_weights(tmp_path: Path) -> None:
    encoder = Encoder(TINY).eval()
    encoder.save_pretrained(tmp_path / "model")
    request = ExportRequest(tmp_path / "model", "torch", "fp32", tmp_path / "out")
    [exported] = export_many([request])
    ids = torch.arange(8).reshape(2, 4)
    answer = load(exported.path)(ids, torch.ones_like(ids), torch.zeros_like(ids))
    assert torch.allclose(answer, encoder(ids), atol=1e-6)


def test_int8_gets_random_calibration(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    [exported] = export_many([ExportRequest(TINY, "openvino", "int8", tmp_path)])
    assert exported.path.name == "openvino_model_int8.xml"


def test_nothing_to_do() -> None:
    assert export_many([]) == []


def test_refusals_come_before_any_work(tmp_path: Path) -> None:
    first = ExportRequest(TINY, "torch", "fp32", tmp_path)
    with pytest.raises(UsageError, match="Two encoders"):
        export_many([first, ExportRequest(OTHER, "torch", "fp32", tmp_path)])
    with pytest.raises(UnknownName, match="fp8"):
        export_many([first, ExportRequest(TINY, "torch", "fp8", tmp_path)])
    assert not any(tmp_path.iterdir())


def _missing_model(_done: int, _total: int) -> None:
    """A progress callback that only counts."""


def _interrupt(_done: int, _total: int) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("progress", "error"), [(_missing_model, ModelError), (_interrupt, KeyboardInterrupt)]
)
def test_failure_and_interrupt_end_the_workers(
    tmp_path: Path, progress: Callable[[int, int], None], error: type[BaseException]
) -> None:
    source = tmp_path / "nowhere" if error is ModelError else OTHER
    requests = [
        ExportRequest(TINY, "torch", "fp32", tmp_path / "a"),
        ExportRequest(source, "torch", "fp32", tmp_path / "b"),
    ]
    with pytest.raises(error):
        export_many(requests, progress=progress)
    assert multiprocessing.active_children() == []


_ASK = """
import multiprocessing, os, signal, sys
from pathlib import Path
from deploy.architecture import Architecture
from deploy.export_pool import ExportPool, ExportRequest

requests = [
    ExportRequest(Architecture(20, hidden, ()), "torch", "fp32", Path(sys.argv[1]) / str(hidden))
    for hidden in (8, 16)
]
"""
_KILLED = """
if __name__ == "__main__":
    with ExportPool() as pool:
        pool.export(requests)
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""
_UNGUARDED = """
with ExportPool() as pool:
    pool.export(requests)
"""


def run_script(text: str, place: Path) -> subprocess.CompletedProcess[str]:
    script = place / "script.py"
    script.write_text(_ASK + text)
    root = Path(export_pool.__file__).parents[1]
    return subprocess.run(
        [sys.executable, str(script), str(place)],
        env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True,
        check=False, timeout=100,
    )  # fmt: skip


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    done = run_script(_KILLED, tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    workers = [
        psutil.Process(int(pid)) for pid in done.stdout.split() if psutil.pid_exists(int(pid))
    ]
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_script_that_every_worker_would_run_again_is_told_so(tmp_path: Path) -> None:
    done = run_script(_UNGUARDED, tmp_path)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("devices.errors.CutonceError: ")
    assert 'if __name__ == "__main__":' in last

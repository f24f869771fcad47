"""Footprints on a real runtime, in processes of their own."""

from __future__ import annotations

import pytest

from deploy.architecture import uniform
from deploy.export_pool import ExportPool, ExportRequest
from deploy.workload import Workload
from devices.target import Target
from profiler import footprint
from profiler.exchange import merge
from profiler.footprint import weigh
from profiler.job import Job
from profiler.store import Store

TARGET = Target("local", "onnxruntime", "fp32", 1)


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> list[Job]:
    """A small encoder, and one with 32 MB more in its feed-forward matrices.

    An embedding table would not do: its file is mapped, and rows that no text asks for stay on disk.
    """
    small = uniform(1, 64, 2, 128, vocabulary=64)
    found = []
    with ExportPool() as pool:
        for encoder in (small, uniform(1, 64, 2, 2**16, vocabulary=64)):
            place = tmp_path_factory.mktemp("export")
            [made] = pool.export([ExportRequest(encoder, "onnxruntime", "fp32", place)])
            found.append(Job(TARGET, encoder, Workload(1, 8), made.path))
    return found


def test_sizes_tell_a_small_encoder_from_a_large_one(real, store, monkeypatch, tmp_path) -> None:
    told: list[tuple[int, int]] = []

    def weighed(store: Store):
        return weigh(real, store=store, campaign="c", progress=lambda *at: told.append(at))

    small, large = weighed(store)
    assert large.file_bytes - small.file_bytes == pytest.approx(4 * 64 * 2**17, rel=0.01)
    assert large.peak_bytes - small.peak_bytes > 0.9 * 4 * 64 * 2**17
    assert small.peak_bytes > small.file_bytes
    assert told == [(1, 2), (2, 2)]
    monkeypatch.setattr(footprint, "AgentClient", None)  # nothing is weighed twice
    assert weighed(store) == [small, large]
    with Store(tmp_path / "another.sqlite") as another:
        merge(another, store.path)
        assert weighed(another) == [small, large]


def test_a_virtual_device_has_files_alone(jobs, store) -> None:
    found = weigh(jobs("fake/fake/fp32@1"), store=store, campaign="c", progress=lambda *_: None)
    assert all(each.peak_bytes is None and each.file_bytes > 0 for each in found)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.device import open_device
from devices.errors import UnknownName, UsageError
from devices.runtimes import RUNTIMES
from devices.target import Target

variants = [(name, precision) for name in RUNTIMES for precision in RUNTIMES.get(name).precisions]


@given(
    variant=st.sampled_from(variants), threads=st.integers(1, 128), streams=st.integers(1, 64),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_reads_what_it_writes(
    variant: tuple[str, str], threads: int, streams: int, seed: int
) -> None:
    runtime, precision = variant
    device = f"fake:{seed}" if runtime == "fake" else "local"
    streams = 1 if RUNTIMES.get(runtime).gpu else streams
    target = Target(device, runtime, precision, threads, streams)
    assert Target.parse(str(target)) == target
    assert target.virtual == (runtime == "fake")
    assert not set(target.slug) & set("/:@")


def test_no_threads_means_the_physical_cores() -> None:
    assert Target.parse("fake/fake/fp32").threads == 2
    found = Target.parse("local/torch/bf16").threads
    assert found == open_device("local").physical_cores()


@pytest.mark.parametrize(
    ("text", "hint"),
    [("locl/torch/fp32", "local"), ("local/tosch/fp32", "torch"), ("local/torch/fp23", "fp32"),
     ("local/onnxruntime/bf16", "int8")],
)  # fmt: skip
def test_names_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(UnknownName, match=hint):
        Target.parse(text)


@pytest.mark.parametrize(
    "text",
    ["", "local", "local/torch", "local/torch/fp32/x", "local/torch/fp32@", "local/torch/fp32@0",
     "local/torch/fp32@two", "local/torch/fp32@2x", "local/torch/fp32@2x0",
     "local/torch-cuda/fp32@1x2", "local/fake/fp32", "fake/torch/fp32"],
)  # fmt: skip
def test_refuses_other_shapes(text: str) -> None:
    with pytest.raises(UsageError):
        Target.parse(text)

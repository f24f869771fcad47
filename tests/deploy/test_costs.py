from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.architecture import (
    Architecture,
    Attention,
    FeedForward,
    Operator,
    Projection,
    SeparableConvolution,
    uniform,
)
from deploy.costs import activation_bytes, costs, macs, parameters, weight_bytes
from deploy.encoder import Encoder
from deploy.workload import Workload
from devices.errors import UsageError

CHAINS = st.lists(
    st.one_of(
        st.builds(Attention, st.integers(1, 4), st.integers(1, 9)),
        st.builds(FeedForward, st.integers(1, 40), gated=st.booleans()),
        st.builds(SeparableConvolution, st.sampled_from([1, 3, 7])),
        st.builds(Projection, st.integers(1, 24)),
    ),
    max_size=5,
).map(tuple)


@settings(max_examples=25, deadline=None)
@given(CHAINS, st.integers(1, 24), st.integers(0, 3))
def test_parameters_are_those_of_the_module(
    chain: tuple[Operator, ...], hidden: int, labels: int
) -> None:
    architecture = Architecture(30, hidden, chain, positions=16, labels=labels)
    built = sum(parameter.numel() for parameter in Encoder(architecture).parameters())
    assert parameters(architecture) == built


@settings(max_examples=25)
@given(CHAINS, st.integers(1, 8), st.integers(1, 64))
def test_work_grows_with_the_batch_and_with_every_sub_layer(
    chain: tuple[Operator, ...], batch: int, length: int
) -> None:
    architecture = Architecture(30, 16, chain, labels=2)
    work = Workload(batch, length)
    assert macs(architecture, work) == batch * macs(architecture, Workload(1, length))
    assert len(costs(architecture, work)) == len(chain) + 2
    more = replace(architecture, operators=(*chain, FeedForward(8)))
    hidden = architecture.widths[-1]
    assert macs(more, work) - macs(architecture, work) == 2 * work.tokens * hidden * 8
    assert activation_bytes(more, work) > activation_bytes(architecture, work)


def test_published_size_of_bert_base() -> None:
    # Devlin et al. 2019, §3: 12 layers, hidden 768, 12 heads, 110 million parameters.
    base = uniform(12, 768, 12, 3072, labels=2)
    assert parameters(base) == pytest.approx(110e6, rel=0.01)


def test_precision_sets_the_bytes() -> None:
    base = uniform(2, 32, 4, 64)
    fp32, int8 = (weight_bytes(base, Workload(), precision) for precision in ("fp32", "int8"))
    assert fp32 == 4 * int8


@pytest.mark.parametrize("values", [(0, 1), (1, -1), (1, 1.5)])
def test_workload_refuses_nonsense(values: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        Workload(*values)
    assert Workload.from_json(Workload(2, 3).to_json()) == Workload(2, 3)

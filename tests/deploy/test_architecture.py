from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.architecture import (
    Architecture,
    Attention,
    FeedForward,
    Projection,
    SeparableConvolution,
    uniform,
)
from devices.errors import UsageError

OPERATORS = st.one_of(
    st.builds(Attention, st.integers(1, 16), st.integers(1, 64)),
    st.builds(
        FeedForward,
        st.integers(1, 4096),
        st.sampled_from(["gelu", "gelu_new", "relu"]),
        st.booleans(),
    ),
    st.builds(SeparableConvolution, st.sampled_from([1, 3, 5, 7])),
    st.builds(Projection, st.integers(1, 1024)),
)
ARCHITECTURES = st.builds(
    Architecture,
    vocabulary=st.integers(1, 10**6),
    hidden=st.integers(1, 1024),
    operators=st.lists(OPERATORS, max_size=24).map(tuple),
    labels=st.integers(0, 9),
)


@given(ARCHITECTURES)
def test_json_round_trip_keeps_the_digest(architecture: Architecture) -> None:
    again = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
    assert again == architecture
    assert again.digest == architecture.digest
    assert len(architecture.widths) == len(architecture.operators) + 1


def test_a_projection_changes_the_hidden_size_of_what_follows() -> None:
    chain = (SeparableConvolution(3), Projection(16), FeedForward(8, gated=True), Projection(24))
    architecture = Architecture(vocabulary=9, hidden=32, operators=chain)
    assert architecture.widths == (32, 32, 16, 16, 24)
    assert str(architecture) == "H32[C3 P16 G8 P24]"
    assert (architecture.attentions, architecture.feed_forwards) == (0, 1)


def test_dropping_sub_layers() -> None:
    dense = uniform(2, 32, 4, 64)
    cut = dense.with_operators([dense.operators[0], None, None, FeedForward(8)])
    assert cut.operators == (Attention(4, 8), FeedForward(8))
    assert cut.digest != dense.digest
    assert str(cut) == "H32[A4 F8]"
    assert str(dense.with_operators([None] * 4)) == "H32[no sub-layers]"


@pytest.mark.parametrize(
    "damage",
    [
        {"schema": 2},
        {"operators": [{"kind": "convolution"}]},
        {"operators": [{"kind": "attention", "heads": 0, "head_dim": 8}]},
        {"operators": [{"kind": "attention", "heads": True, "head_dim": 8}]},
        {"operators": None},
        {"hidden": "32"},
        {"surprise": 1},
    ],
)
def test_damaged_json(damage: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Architecture.from_json({**uniform(1, 32, 4, 64).to_json(), **damage})


def test_impossible_shapes() -> None:
    with pytest.raises(UsageError, match="multiple of 5 heads"):
        uniform(1, 32, 5, 64)
    with pytest.raises(UsageError, match="'swish'"):
        FeedForward(8, "swish")
    with pytest.raises(UsageError, match="must be odd, not 4"):
        SeparableConvolution(4)

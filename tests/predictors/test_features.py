from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.architecture import (
    Architecture,
    Attention,
    FeedForward,
    SeparableConvolution,
    uniform,
)
from deploy.costs import activation_bytes, macs, weight_bytes
from deploy.workload import Workload
from devices.errors import UnknownName
from predictors.features import COLUMNS, KNOTS, MIB, MILLION, Features, in_regimes
from predictors.quantity import ENERGY, LATENCY, QUANTITIES

NAMES = list(COLUMNS)
ENCODER = Architecture(1000, 48, (Attention(3, 16), FeedForward(100), Attention(1, 16)), labels=3)
WORKLOAD = Workload(2, 32)


def columns(features: Features, architecture: Architecture, workload: Workload) -> dict[str, float]:
    return dict(zip(NAMES, features.matrix([architecture], [workload])[0], strict=True))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_columns_agree_with_the_closed_form_costs(precision: str) -> None:
    found = columns(Features(precision), ENCODER, WORKLOAD)
    assert found["constant"] == 1
    assert (found["attentions"], found["feed_forwards"]) == (2, 1)
    assert found["gemm"] + found["scores"] == pytest.approx(macs(ENCODER, WORKLOAD) / MILLION)
    read = sum(found[f"weights_from_{knot}"] for knot in KNOTS)
    assert read == pytest.approx(weight_bytes(ENCODER, WORKLOAD, precision) / MIB)
    moved = found["activations"] + found["residual"] + 4 * found["softmax"] * MILLION / MIB
    assert moved == pytest.approx(activation_bytes(ENCODER, WORKLOAD) / MIB)
    assert found["softmax"] == pytest.approx(2 * 4 * 32**2 / MILLION)


def test_a_convolution_has_a_cost_of_its_own_beside_its_products() -> None:
    row = Features().operator(SeparableConvolution(5), 48, WORKLOAD)
    found = dict(zip(NAMES, row, strict=False))
    assert (found["convolutions"], found["attentions"], found["feed_forwards"]) == (1, 0, 0)
    assert found["depthwise"] == pytest.approx(2 * 32 * 48 / MILLION)
    assert found["gemm"] == pytest.approx(2 * 32 * (5 * 48 + 48 * 48) / MILLION)


def test_tile_pads_both_sides_of_a_weight() -> None:
    feed_forward = Features(tile=64).operator(FeedForward(65), 60, Workload(1, 10))
    assert feed_forward[NAMES.index("gemm")] == pytest.approx(2 * 10 * 64 * 128 / MILLION)
    exact = Features(tile=1).operator(FeedForward(65), 60, Workload(1, 10))
    assert exact[NAMES.index("gemm")] == pytest.approx(2 * 10 * 60 * 65 / MILLION)


def test_regimes_share_out_the_weights() -> None:
    parts = in_regimes(np.array([0.4, 2.5, 20.0, 700.0]))
    assert parts.tolist() == [
        [0.4, 0, 0, 0, 0, 0, 0],
        [1, 1.5, 0, 0, 0, 0, 0],
        [1, 2, 7, 10, 0, 0, 0],
        [1, 2, 7, 20, 70, 200, 400],
    ]


def test_only_what_a_cache_matters_to_has_regimes() -> None:
    for quantity in QUANTITIES.values():
        found = columns(Features(quantity=quantity), ENCODER, WORKLOAD)
        assert (found["weights_from_0"] > 0) == (quantity in (LATENCY, ENERGY))


def test_weights_that_are_shared_count_once() -> None:
    own = uniform(3, 48, 3, 100)
    shared = replace(own, shares=(0, 1, 0, 1, 0, 1))
    once = uniform(1, 48, 3, 100)
    ours, theirs, whole = (columns(Features(), a, WORKLOAD) for a in (shared, once, own))
    assert all(ours[f"weights_from_{knot}"] == theirs[f"weights_from_{knot}"] for knot in KNOTS)
    assert all(ours[name] == whole[name] for name in NAMES if not name.startswith("weights"))


def test_a_dropped_sub_layer_costs_nothing() -> None:
    assert not Features().operator(None, 48, WORKLOAD).any()


def test_unknown_precision_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="int8"):
        Features("int7")


@given(
    heads=st.integers(1, 12),
    width=st.integers(1, 3000),
    tile=st.sampled_from([1, 16, 32, 64]),
    length=st.integers(1, 256),
)
def test_features_are_non_negative_additive_and_grow(
    heads: int, width: int, tile: int, length: int
) -> None:
    features, workload = Features(tile=tile), Workload(1, length)
    architecture = uniform(2, 192, 3, 700).with_operators(
        [Attention(heads, 64), FeedForward(width)]
    )
    larger = architecture.with_operators([Attention(heads + 1, 64), FeedForward(width + 1)])
    row, grown = features.matrix([architecture, larger], [workload, workload])
    assert (row >= 0).all()
    assert (grown >= row).all()
    whole = features.chain(architecture, workload).sum(0)
    np.testing.assert_allclose(features.with_regimes(whole[None])[0], row)

"""What a profile may be made of."""

from __future__ import annotations

import pytest

from cutonce.candidates import OTHER, POOL, candidates
from deploy.architecture import Projection, SeparableConvolution, uniform
from deploy.workload import Workload


def test_encoders_of_many_shapes_have_the_sub_layers_of_nas_bert_too() -> None:
    found = [architecture for architecture, _ in candidates(None, [Workload(1, 32)], 0)]
    others = [a for a in found if any(isinstance(op, Projection) for op in a.operators)]
    assert len(others) / POOL == pytest.approx(OTHER, abs=0.08)
    kernels = {
        op.kernel for a in others for op in a.operators if isinstance(op, SeparableConvolution)
    }
    assert kernels == {3, 5, 7}
    assert len({a.hidden for a in found}) > 5


def test_around_a_model_are_its_own_sub_networks() -> None:
    model = uniform(2, 64, 2, 128, vocabulary=50)
    workloads = [Workload(1, 16), Workload(1, 32)]
    found = candidates(model, workloads, 0)
    kinds = {op.kind for architecture, _ in found for op in architecture.operators}
    assert kinds == {"attention", "feed_forward"}
    assert {a.operators for a, _ in found[:2]} == {model.operators}
    assert [workload for _, workload in found[:2]] == workloads

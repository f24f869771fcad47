from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import DeviceError
from devices.runtimes.fake_runtime import FakeRuntime, Physics, fake_milliseconds

EXACT = Physics(
    macs=1e6, bandwidth=1e6, spilled_bandwidth=5e5, cache=10**6, overhead=0.5, tile=8,
    int8_speedup=2.0,
)  # fmt: skip
sizes = st.integers(1, 512)


def costs(*operators: dict[str, Any], precision: str = "fp32") -> dict[str, Any]:
    plain = {"kind": "feed_forward", "linear": [], "heads": 0, "head_dim": 0, "weights": 0,
             "activations_per_token": 0}  # fmt: skip
    return {"schema": 1, "precision": precision, "operators": [{**plain, **op} for op in operators]}


def ms(listed: dict[str, Any], physics: Physics = EXACT, **asked: int) -> float:
    return fake_milliseconds(listed, physics, **{"threads": 1, "batch": 1, "length": 1, **asked})


def test_the_law_by_hand() -> None:
    # Compute: 10 tokens × 100 × 16 (13 rounded up to the tile) = 16 000 MACs = 0.016 ms.
    assert ms(costs({"linear": [[100, 13, 1]]}), length=10) == pytest.approx(0.5 + 0.016)
    # Memory: 1000 weights of 4 bytes and 10 tokens of 50 floats = 6000 bytes = 0.006 ms.
    moved = costs({"weights": 1000, "activations_per_token": 50})
    assert ms(moved, length=10) == pytest.approx(0.5 + 0.006)
    # Scores: 2 · 3 heads · 2 sequences · 10² · 4 = 4800 MACs.
    scores = costs({"kind": "attention", "heads": 3, "head_dim": 4})
    assert ms(scores, batch=2, length=10) == pytest.approx(0.5 + 0.0048)
    # The head sees sequences, not tokens.
    head = costs({"kind": "head", "linear": [[100, 16, 1]]})
    assert ms(head, batch=2, length=10) == pytest.approx(0.5 + 0.0032)


def test_weights_beyond_the_cache_move_slower() -> None:
    inside, beyond = costs({"weights": 250_000}), costs({"weights": 250_001})
    assert ms(inside) == pytest.approx(0.5 + 1.0)
    assert ms(beyond) == pytest.approx(0.5 + 2.0, rel=1e-4)
    assert ms(costs({"weights": 250_001}, precision="int8")) < ms(inside)


@given(k=sizes, n=sizes, more=sizes, seed=st.integers(0, 50))
def test_more_work_never_takes_less_time(k: int, n: int, more: int, seed: int) -> None:
    physics = Physics.of(seed)
    base = costs({"linear": [[k, n, 1]], "weights": k * n})
    wider = costs({"linear": [[k, n + more, 1]], "weights": k * (n + more)})
    longer = ms(base, physics, length=1 + more)
    assert ms(base, physics) <= ms(wider, physics)
    assert ms(base, physics) <= longer
    assert ms(base, physics, length=1 + more, threads=2) <= longer
    assert ms({**base, "precision": "int8"}, physics) <= ms(base, physics)


@given(st.integers(0, 1000))
def test_each_seed_is_one_machine(seed: int) -> None:
    assert Physics.of(seed) == Physics.of(seed)
    assert Physics.of(seed) != Physics.of(seed + 1)
    assert Physics.of(seed).spilled_bandwidth < Physics.of(seed).bandwidth


def test_widths_cost_in_steps_of_the_tile() -> None:
    physics = replace(EXACT, tile=16)
    times = [ms(costs({"linear": [[64, n, 1]]}), physics, length=64) for n in (32, 33, 48, 49)]
    assert times[0] < times[1] == times[2] < times[3]


@pytest.mark.parametrize(
    "listed",
    ["{", "{}", json.dumps({**costs(), "schema": 2}), json.dumps({**costs(), "precision": "fp8"}),
     json.dumps({"schema": 1, "precision": "fp32", "operators": [{"kind": "head"}]})],
)  # fmt: skip
def test_a_cost_list_that_is_none(tmp_path: Path, listed: str) -> None:
    (tmp_path / "model.costs.json").write_text(listed)
    with pytest.raises(DeviceError, match=r"model\.costs\.json"):
        FakeRuntime().load(tmp_path / "model.onnx", "fp32", 1)

from __future__ import annotations

import json

from deploy.architecture import Architecture, uniform
from deploy.workload import Workload
from devices.target import Target
from profiler.measurement import Measurement
from profiler.statistics import summarise
from profiler.visit import Visit

RUNS = ((1.0, 1.2), (1.1, 3.0))
MEASUREMENT = Measurement(
    "c", Target("local", "torch", "fp32", 2), "0123456789ab", uniform(1, 16, 2, 32),
    Workload(2, 8), "bf16", tuple(Visit(float(i), runs) for i, runs in enumerate(RUNS)),
)  # fmt: skip


def test_its_numbers_are_those_of_its_visits() -> None:
    assert MEASUREMENT.statistics == summarise(RUNS)
    assert MEASUREMENT.within(1.15) == 0.5
    assert any("another precision" in warning for warning in MEASUREMENT.warnings)


def test_its_json_is_json_and_whole() -> None:
    data = json.loads(json.dumps(MEASUREMENT.to_json()))
    assert data["schema"] == 1
    assert data["target"] == "local/torch/fp32@2"
    assert Architecture.from_json(data["architecture"]) == MEASUREMENT.architecture
    assert Workload.from_json(data["workload"]) == MEASUREMENT.workload
    assert [tuple(visit["ms"]) for visit in data["visits"]] == list(RUNS)
    assert [visit["causes"] for visit in data["visits"]] == [[], []]
    assert data["statistics"] == MEASUREMENT.statistics.to_json()
    assert data["warnings"] == list(MEASUREMENT.warnings)

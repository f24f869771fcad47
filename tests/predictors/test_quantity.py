"""Quantities beside milliseconds, behind the same predictor."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import pytest

from deploy.architecture import Architecture, uniform
from deploy.costs import operator_parameters, parameters
from deploy.workload import Workload
from devices.errors import UsageError
from predictors.planning import plan
from predictors.predictor import LatencyPredictor
from predictors.quantity import FILE_SIZE, PEAK_MEMORY
from predictors.transfer import Speed

WORKLOAD = Workload(1, 64)


def megabytes(architecture: Architecture) -> float:
    """Of a file that holds every parameter, with a little for each node of its graph."""
    return 4.01 * parameters(architecture) / 1e6 + 0.02 + 0.003 * len(architecture.operators)


@pytest.fixture(scope="module")
def file_size(encoders) -> LatencyPredictor:
    pool = encoders(3, 60)
    chosen = [pool[i] for i in plan(pool, WORKLOAD, 10, "fp32", 0)]
    varied = [
        replace(a, vocabulary=rows) for a, rows in zip(chosen, cycle((1024, 16384)), strict=False)
    ]
    predictor = LatencyPredictor(quantity=FILE_SIZE)
    return predictor.fit(varied, [WORKLOAD] * 10, [*map(megabytes, varied)])


def test_a_file_of_any_vocabulary_is_predicted(file_size, encoders) -> None:
    for vocabulary in (2000, 30522, 119547):
        asked = [replace(a, vocabulary=vocabulary) for a in encoders(4, 20)]
        workloads = [WORKLOAD] * len(asked)
        exact = [*map(megabytes, asked)]
        assert file_size.predict(asked, workloads) == pytest.approx(exact, rel=0.01)
    base = replace(uniform(3, 256, 4, 512), vocabulary=119547)
    assert file_size.in_domain([base], [WORKLOAD]).all()


def test_a_file_does_not_grow_with_its_inputs(file_size) -> None:
    asked = [uniform(3, 256, 4, 512)] * 2
    short, long = file_size.predict(asked, [Workload(1, 16), Workload(8, 512)])
    assert short == long


def test_tables_serve_a_search_as_milliseconds_do(file_size) -> None:
    base = uniform(2, 256, 4, 512)
    table = file_size.table(base, [(op, None) for op in base.operators], WORKLOAD)
    dense, cut = table.predict([0] * 4)[1], table.predict([0, 1, 0, 0])[1]
    assert dense == pytest.approx(megabytes(base), rel=0.01)
    gone = 4.01e-6 * operator_parameters(base.operators[1], 256) + 0.003
    assert dense - cut == pytest.approx(gone, rel=0.02)


def test_the_quantity_is_kept(file_size) -> None:
    for one in (file_size, file_size.calibrated(1.0), file_size.estimate(*[Speed(1.0, 1.0)] * 2)):
        assert LatencyPredictor.from_json(one.to_json()).quantity is FILE_SIZE


def test_what_is_no_quantity_is_refused(file_size) -> None:
    with pytest.raises(UsageError, match="not a latency predictor"):
        LatencyPredictor.from_json({**file_size.to_json(), "quantity": "beauty"})
    encoders = [uniform(n, 64, 2, 128) for n in (1, 2, 3, 4)]
    with pytest.raises(UsageError, match=r"peak memory of .* is 0.0, not a positive number of MB"):
        LatencyPredictor(quantity=PEAK_MEMORY).fit(encoders, [WORKLOAD] * 4, [1.0, 2.0, 3.0, 0.0])

"""New targets from known ones, on devices whose law is known."""

from dataclasses import replace

import numpy as np
import pytest

from deploy.workload import Workload
from devices.errors import UsageError
from predictors.planning import plan
from predictors.predictor import LatencyPredictor
from predictors.transfer import Speed

WORKLOAD = Workload(1, 64)
pytestmark = pytest.mark.usefixtures("few_fits")


def scaled(machine, compute: float, memory: float):
    """A device like ``machine``, faster in its arithmetic and its memory."""
    like = replace(machine)
    like.tile, like.cache_bytes = machine.tile, machine.cache_bytes
    like.macs_per_ms, like.bytes_per_ms = (
        machine.macs_per_ms * compute,
        machine.bytes_per_ms * memory,
    )
    like.per_layer_ms = machine.per_layer_ms / compute
    like.constant_ms = machine.constant_ms / compute
    return like


def fitted(machine, pool, n: int, seed: int, **how) -> LatencyPredictor:
    chosen = [pool[i] for i in plan(pool, WORKLOAD, n, "fp32", seed)]
    workloads = [WORKLOAD] * n
    return LatencyPredictor().fit(chosen, workloads, machine.measure(chosen, workloads), **how)


def error(predictor: LatencyPredictor, machine, pool) -> float:
    exact = np.array([machine.exact(a, WORKLOAD) for a in pool])
    return float(np.median(np.abs(predictor.predict(pool, [WORKLOAD] * len(pool)) / exact - 1)))


def test_five_encoders_do_beside_a_known_target_that_is_alike(device, encoders) -> None:
    pool, alone, shrunk = encoders(0, 120), [], []
    other = fitted(device(50), pool, 16, 0)
    for seed in range(8):
        machine = device(seed)
        known = [other, fitted(machine, pool, 16, 0)]
        new = scaled(machine, 2.0, 1.5)
        alone.append(error(fitted(new, pool, 5, seed), new, pool))
        shrunk.append(error(fitted(new, pool, 5, seed, known=known), new, pool))
    assert np.mean(shrunk) < 0.04
    assert np.mean(shrunk) < 0.6 * np.mean(alone)


def test_tiers_say_what_a_prediction_rests_on(device, encoders) -> None:
    pool, machine = encoders(0, 120), device(0)
    known = fitted(machine, pool, 16, 0)
    assert known.tier == 2
    assert fitted(machine, pool, 6, 0).tier == 2  # on its own, however few
    assert fitted(machine, pool, 6, 0, known=[known]).tier == 1
    assert fitted(machine, pool, 16, 0, known=[known]).tier == 2
    assert fitted(machine, pool, 80, 0, known=[known]).tier == 3
    estimate = known.estimate(Speed(20, 10), Speed(40, 10))
    assert estimate.tier == 0
    assert LatencyPredictor.from_json(estimate.to_json()).tier == 0


def test_an_estimate_goes_with_the_speed_and_is_wide(device, encoders) -> None:
    pool, machine = encoders(0, 60), device(1)
    known = fitted(machine, pool, 16, 0)
    estimate = known.estimate(Speed(20, 10), Speed(60, 30))
    workloads = [WORKLOAD] * len(pool)
    np.testing.assert_allclose(
        estimate.predict(pool, workloads), known.predict(pool, workloads) / 3, rtol=1e-9
    )
    lower, upper = estimate.predict_interval(pool, workloads)
    assert (upper / lower > 1.3**2).all()
    assert error(known.estimate(Speed(1, 1), Speed(2, 1.5)), scaled(machine, 2.0, 1.5), pool) < 0.15


def test_tiers_that_are_not_to_be_had_say_what_is_missing(device, encoders) -> None:
    pool, machine = encoders(0, 60), device(2)
    with pytest.raises(UsageError, match="needs 12 measured encoders; 4 are missing beside the 8"):
        fitted(machine, pool, 8, 0, tier=2)
    with pytest.raises(UsageError, match="28 are missing"):
        fitted(machine, pool, 12, 0, tier=3)
    with pytest.raises(UsageError, match="none is given"):
        fitted(machine, pool, 8, 0, tier=1)
    with pytest.raises(UsageError, match="1, 2 or 3, not 7"):
        fitted(machine, pool, 8, 0, tier=7)
    with pytest.raises(UsageError, match="must be a positive number"):
        Speed(0.0, 1.0)

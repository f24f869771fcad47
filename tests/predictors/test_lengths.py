"""A distribution of lengths, against drawing from it."""

import numpy as np
import pytest

from deploy.architecture import uniform
from deploy.workload import Workload
from devices.errors import UsageError
from predictors.lengths import latency_over
from predictors.predictor import LatencyPredictor

ENCODER = uniform(2, 128, 2, 256)
SHARES = {16: 2.0, 64: 5.0, 128: 2.0, 384: 1.0}


@pytest.fixture(scope="module")
def predictor() -> LatencyPredictor:
    rng = np.random.default_rng(0)
    encoders = [uniform(1 + i % 3, 128, 2, 128 * (1 + i % 4)) for i in range(12)]
    workloads = [Workload(int(rng.integers(1, 9)), int(rng.integers(8, 400))) for _ in encoders]
    ms = [
        0.1 + 1e-3 * w.tokens * len(a.operators) + 1e-6 * w.batch * w.length**2
        for a, w in zip(encoders, workloads, strict=True)
    ]
    return LatencyPredictor().fit(encoders, workloads, ms)


@pytest.mark.parametrize("batch", [1, 4])
def test_it_is_what_draws_come_to(predictor: LatencyPredictor, batch: int) -> None:
    rng = np.random.default_rng(1)
    share = np.array([*SHARES.values()]) / sum(SHARES.values())
    longest = rng.choice([*SHARES], (40_000, batch), p=share).max(1)
    one = {length: predictor.predict([ENCODER], [Workload(batch, length)])[0] for length in SHARES}
    drawn = np.array([one[length] for length in longest.tolist()])
    expected, high = latency_over(predictor, ENCODER, SHARES, batch)
    assert expected == pytest.approx(drawn.mean(), rel=0.02)
    assert high == pytest.approx(np.quantile(drawn, 0.95, method="inverted_cdf"))


def test_one_length_is_that_length(predictor: LatencyPredictor) -> None:
    [ms] = predictor.predict([ENCODER], [Workload(2, 64)])
    assert latency_over(predictor, ENCODER, {64: 0.3}, 2) == pytest.approx((ms, ms))


@pytest.mark.parametrize("bad", [{}, {32: 0.0}, {32: -1.0}, {32: float("nan")}])
def test_shares_that_are_none_are_refused(predictor: LatencyPredictor, bad) -> None:
    with pytest.raises(UsageError, match="positive share"):
        latency_over(predictor, ENCODER, bad)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.architecture import FeedForward, uniform
from deploy.costs import macs, weight_bytes
from deploy.workload import Workload
from devices.errors import UsageError
from predictors.planning import DETERMINED, d_optimal, plan, typical
from predictors.predictor import LatencyPredictor

WORKLOAD = Workload(1, 64)


def log_determinant(rows: np.ndarray) -> float:
    return float(np.linalg.slogdet(rows.T @ rows + 1e-4 * np.eye(rows.shape[1]))[1])


@given(seed=st.integers(0, 100), n=st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_chooses_different_rows_and_includes_the_wanted(seed: int, n: int) -> None:
    rows = np.random.default_rng(seed).uniform(0, 1, (20, 4))
    include = list(range(19, 19 - min(n, 3), -1))
    chosen = d_optimal(rows, n, seed, include)
    assert len(set(chosen)) == n
    assert chosen[: len(include)] == include


def test_same_seed_same_choice_and_ties_follow_the_seed() -> None:
    rows = np.ones((50, 1))
    assert d_optimal(rows, 5, 1) == d_optimal(rows, 5, 1)
    assert len({tuple(d_optimal(rows, 5, seed)) for seed in range(5)}) > 1


def test_determinant_beats_random_choices() -> None:
    rows = np.random.default_rng(0).uniform(0, 1, (200, 6)) ** 3
    rows /= rows.max(0)
    ours = log_determinant(rows[d_optimal(rows, 12, 0)])
    random = [log_determinant(np.random.default_rng(s).permutation(rows)[:12]) for s in range(50)]
    assert ours > max(random)


def test_too_many_are_refused() -> None:
    with pytest.raises(UsageError, match="Cannot choose 4 of 3"):
        d_optimal(np.ones((3, 2)), 4, 0)


def test_plan_holds_the_smallest_and_the_largest_and_no_duplicates(encoders) -> None:
    pool = encoders(0, 60)
    pool += pool[:30]
    chosen = plan(pool, WORKLOAD, 14, "fp32", 0)
    work = [macs(a, WORKLOAD) for a in pool]
    assert {pool[i] for i in chosen} >= {pool[np.argmin(work)], pool[np.argmax(work)]}
    assert len({pool[i] for i in chosen}) == 14
    assert chosen == plan(pool, WORKLOAD, 14, "fp32", 0)


def test_plan_takes_a_workload_for_each_candidate(encoders) -> None:
    pool = encoders(1, 40)
    workloads = [Workload(1, 16 << i % 4) for i in range(40)]
    chosen = plan(pool, workloads, 12, "int8", 0)
    assert {workloads[i].length for i in chosen} >= {16, 128}


def test_plan_refuses_what_cannot_be_chosen(encoders) -> None:
    pool = encoders(0, 5)
    with pytest.raises(UsageError, match="2 or more"):
        plan(pool, WORKLOAD, 1, "fp32", 0)
    with pytest.raises(UsageError, match="Cannot choose 6 of 5"):
        plan(pool * 2, WORKLOAD, 6, "fp32", 0)


def test_d_optimal_encoders_predict_better_than_random_ones(device, encoders) -> None:
    planned, random = [], []
    for seed in range(10):
        pool = encoders(seed, 200)
        draw = np.random.default_rng(seed).choice(200, 10, replace=False)
        for errors, chosen in ((planned, plan(pool, WORKLOAD, 10, "fp32", seed)), (random, draw)):
            machine = device(seed)
            training = [pool[i] for i in chosen]
            ms = machine.measure(training, [WORKLOAD] * 10)
            predictor = LatencyPredictor().fit(training, [WORKLOAD] * 10, ms)
            exact = np.array([machine.exact(a, WORKLOAD) for a in pool])
            errors.append(np.abs(predictor.predict(pool, [WORKLOAD] * 200) / exact - 1).mean())
    assert np.mean(planned) < np.mean(random)


def test_rows_unlike_the_others_are_not_typical() -> None:
    rows = np.random.default_rng(0).uniform(0.9, 1.1, (100, 4))
    rows[3] = (0.0, 0.0, 0.0, 1.0)
    near = typical(rows)
    assert not near[3]
    assert near.sum() > 90


def test_an_encoder_unlike_the_others_is_not_measured(encoders) -> None:
    odd = uniform(4, 128, 2, 16).with_operators([FeedForward(2048)] * 4)
    pool = [*encoders(0, 200), odd]
    for n in (8, DETERMINED, 40):
        assert 200 not in plan(pool, WORKLOAD, n, "fp32", 0)


def test_what_is_measured_beyond_the_determining_encoders_is_drawn(encoders) -> None:
    pool = encoders(0, 200)
    short, long = (plan(pool, WORKLOAD, n, "fp32", 0) for n in (DETERMINED, 40))
    assert long[:DETERMINED] == short
    assert len(set(long)) == 40
    assert plan(pool, WORKLOAD, 40, "fp32", 1)[DETERMINED:] != long[DETERMINED:]


def test_a_large_encoder_at_a_small_workload_is_measured_where_both_are_asked_for(encoders) -> None:
    grid = [Workload(batch, length) for batch in (1, 4, 8) for length in (16, 64, 128, 384)]
    pairs = [(encoder, workload) for encoder in encoders(0, 40) for workload in grid]
    architectures, workloads = [a for a, _ in pairs], [w for _, w in pairs]
    reading = [weight_bytes(*pair, "fp32") for pair in pairs]
    for seed in range(3):
        chosen = plan(architectures, workloads, 24, "fp32", seed)
        small = [reading[i] for i in chosen if workloads[i].tokens == 16]
        assert max(small) > max(reading) / 2

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.statistics import LEAST_VISITS, agree, contention, intrinsic, summarise, within

milliseconds = st.floats(1e-3, 1e4)
visits = st.lists(st.lists(milliseconds, min_size=1, max_size=5), min_size=1, max_size=15)


@given(visits)
def test_everything_lies_between_the_fastest_and_the_slowest(taken: list[list[float]]) -> None:
    numbers = summarise(taken)
    runs = [ms for visit in taken for ms in visit]
    slack = 1e-9 * max(runs)
    low, high = numbers.interval
    for value in (numbers.p20, numbers.p50, numbers.p90, numbers.p99, low, high):
        assert min(runs) - slack <= value <= max(runs) + slack
    assert low <= high
    assert numbers.p50 <= numbers.p90 + slack <= numbers.p99 + 2 * slack
    assert numbers.p20 <= max(min(visit) for visit in taken) + slack
    assert (numbers.visits, numbers.quiet, numbers.runs) == (len(taken), len(taken), len(runs))


@given(visits, st.floats(0.01, 100))
def test_another_unit_gives_the_same_numbers(taken: list[list[float]], factor: float) -> None:
    one = summarise(taken)
    other = summarise([[factor * ms for ms in visit] for visit in taken])
    for name in ("p20", "p50", "p90", "interval"):
        expected = factor * np.asarray(getattr(one, name))
        np.testing.assert_allclose(getattr(other, name), expected, rtol=1e-9)


@given(visits)
def test_neither_chance_nor_the_order_of_runs_matters(taken: list[list[float]]) -> None:
    assert summarise(taken) == summarise(taken)
    turned = summarise([visit[::-1] for visit in taken])
    assert (turned.p20, turned.interval) == (summarise(taken).p20, summarise(taken).interval)


@given(visits, milliseconds)
def test_the_share_within_a_limit(taken: list[list[float]], limit: float) -> None:
    runs = [ms for visit in taken for ms in visit]
    assert within(taken, limit) == pytest.approx(sum(ms <= limit for ms in runs) / len(runs))
    assert within(taken, max(runs)) == 1.0
    assert contention(taken) >= 1.0


def test_few_visits_count_by_their_minimum() -> None:
    few = np.arange(1.0, LEAST_VISITS)
    assert intrinsic(few) == 1.0
    assert intrinsic(np.arange(1.0, LEAST_VISITS + 1)) == pytest.approx(2.6)


def test_slow_episodes_do_not_move_the_low_quantile() -> None:
    quiet = [[1.0, 1.1, 1.0]] * 8
    assert summarise([*quiet, *[[1.8, 1.9]] * 7]).p20 == 1.0
    assert summarise([*quiet, *[[1.8, 1.9]] * 7]).p90 > 1.5


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth = np.quantile(1 + np.abs(rng.normal(0, 0.05, 100_000)), 0.2)
    hits = 0
    for _ in range(100):
        low, high = summarise(1 + np.abs(rng.normal(0, 0.05, (21, 1)))).interval
        hits += low <= truth <= high
    assert hits >= 80


def test_disturbed_visits_count_for_the_contended_quantiles_alone() -> None:
    taken, quiet = [[1.0]] * 9 + [[0.9, 3.0]] * 9, [True] * 9 + [False] * 9
    numbers = summarise(taken, quiet)
    assert numbers.p20 == 1.0
    assert numbers.p90 == 3.0
    assert (numbers.visits, numbers.quiet) == (18, 9)
    assert summarise(taken, [False] * 18).p20 == summarise(taken).p20 == 0.9


def test_lowest_visits_agree() -> None:
    assert agree([5.0, 1.005, 1.0, 1.01])
    assert not agree([1.0, 1.005, 1.011])
    assert not agree([1.0, 1.0])

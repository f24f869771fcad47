from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.statistics import (
    agree,
    at_most,
    contention,
    interval,
    intrinsic,
    paired_ratio,
    ratio,
    ratio_at_most,
    summarise,
    within,
)

milliseconds = st.floats(1e-3, 1e4)
visits = st.lists(st.lists(milliseconds, min_size=1, max_size=5), min_size=1, max_size=15)


@given(visits)
def test_everything_lies_between_the_fastest_and_the_slowest(taken: list[list[float]]) -> None:
    numbers = summarise(taken)
    runs = [ms for visit in taken for ms in visit]
    slack = 1e-9 * max(runs)
    low, high = numbers.interval
    for value in (numbers.intrinsic, numbers.p50, numbers.p90, numbers.p99, high):
        assert min(runs) - slack <= value <= max(runs) + slack
    assert low <= numbers.intrinsic == min(runs) <= high
    assert numbers.p50 <= numbers.p90 + slack <= numbers.p99 + 2 * slack
    assert (numbers.visits, numbers.quiet, numbers.runs) == (len(taken), len(taken), len(runs))


@given(visits, st.floats(0.01, 100))
def test_another_unit_gives_the_same_numbers(taken: list[list[float]], factor: float) -> None:
    one = summarise(taken)
    other = summarise([[factor * ms for ms in visit] for visit in taken])
    for name in ("intrinsic", "p50", "p90", "interval"):
        expected = factor * np.asarray(getattr(one, name))
        np.testing.assert_allclose(getattr(other, name), expected, rtol=1e-9)


@given(visits)
def test_neither_chance_nor_the_order_of_runs_matters(taken: list[list[float]]) -> None:
    assert summarise(taken) == summarise(taken)
    turned = summarise([visit[::-1] for visit in taken])
    assert (turned.intrinsic, turned.interval) == (
        summarise(taken).intrinsic,
        summarise(taken).interval,
    )


@given(visits, milliseconds)
def test_the_share_within_a_limit(taken: list[list[float]], limit: float) -> None:
    runs = [ms for visit in taken for ms in visit]
    assert within(taken, limit) == pytest.approx(sum(ms <= limit for ms in runs) / len(runs))
    assert within(taken, max(runs)) == 1.0
    assert contention(taken) >= 1.0


def test_slow_episodes_do_not_move_the_intrinsic_latency() -> None:
    quiet = [[1.0, 1.1, 1.0]] * 8
    assert summarise([*quiet, *[[1.8, 1.9]] * 7]).intrinsic == 1.0
    assert summarise([*quiet, *[[1.8, 1.9]] * 7]).p90 > 1.5


@given(st.lists(milliseconds, min_size=1, max_size=150))
def test_the_intrinsic_latency_is_low_and_of_few_visits_the_least(minima: list[float]) -> None:
    found, lower = intrinsic(minima), sorted(minima)
    assert lower[0] <= found <= lower[len(minima) // 33]
    assert len(minima) > 33 or found == lower[0]


# How much slower than undisturbed visits are: dense at the lower end, or (chi-square) just so.
NOISE = {
    "exponential": lambda rng, size: rng.exponential(size=size),
    "uniform": lambda rng, size: rng.random(size),
    "chisquare": lambda rng, size: rng.chisquare(2.0, size),
}
sized = pytest.mark.parametrize("size", [30, 60, 120])
drawn = pytest.mark.parametrize("draw", NOISE)


def campaigns(draw: str, size: int) -> Iterator[list[float]]:
    rng = np.random.default_rng(0)
    while True:
        yield (1 + 0.1 * NOISE[draw](rng, size)).tolist()


@sized
@drawn
def test_the_interval_holds_another_campaign_about_as_often_as_it_says(
    draw: str, size: int
) -> None:
    hits, drawn = 0, campaigns(draw, size)
    for one, other in islice(zip(drawn, drawn, strict=False), 400):
        low, high = interval(one)
        hits += low <= intrinsic(other) <= high
    assert 0.90 <= hits / 400 <= 0.99


@sized
@drawn
def test_another_campaign_is_at_most_what_is_said_about_as_often(draw: str, size: int) -> None:
    hits, ratios, drawn = 0, 0, campaigns(draw, size)
    for one, two, other, another in islice(zip(*[drawn] * 4, strict=False), 400):
        hits += intrinsic(other) <= at_most(one)
        ratios += ratio(other, another)[0] <= ratio_at_most(one, two)
    assert 0.94 <= hits / 400 <= 0.99
    assert 0.94 <= ratios / 400 <= 0.995


def test_the_interval_of_a_few_visits_is_their_range() -> None:
    assert interval([3.0]) == (3.0, 3.0)
    assert interval([3.0, 2.0]) == (1.0, 3.0)
    assert (at_most([3.0]), at_most([3.0, 2.0])) == (3.0, 3.0)


@given(st.lists(milliseconds, min_size=1), st.lists(milliseconds, min_size=1))
def test_a_ratio_turned_round_is_its_reciprocal(one: list[float], two: list[float]) -> None:
    value, low, high = ratio(one, two)
    assert low <= value <= high
    turned = [1 / number for number in ratio(two, one)]
    assert [value, high, low] == pytest.approx(turned, rel=1e-9)


def test_disturbed_visits_count_since_no_disturbance_makes_a_run_faster() -> None:
    taken, quiet = [[1.0]] * 9 + [[0.9, 3.0]] * 9, [True] * 9 + [False] * 9
    numbers = summarise(taken, quiet)
    assert numbers == replace(summarise(taken), quiet=9)
    assert (numbers.intrinsic, numbers.p90) == (0.9, 3.0)
    assert (numbers.visits, numbers.quiet) == (18, 9)


def test_lowest_visits_agree() -> None:
    def taken(*least: float) -> list[tuple[float, float]]:
        return list(enumerate(least))

    assert agree(taken(5.0, 1.005, 1.0, 1.01))
    assert not agree(taken(1.0, 1.005, 1.011))
    assert not agree(taken(1.0, 1.0))


def test_visits_that_agree_may_have_to_be_apart() -> None:
    close = [(0.0, 1.0), (1.0, 1.001), (2.0, 1.002), (20.0, 1.3), (40.0, 1.3)]
    assert agree(close)
    assert not agree(close, apart=15.0)
    assert agree([*close, (55.0, 1.005), (70.0, 1.009)], apart=15.0)


@pytest.mark.parametrize("true", [1.0, 1.02])
def test_visits_right_after_each_other_tell_a_ratio_that_their_medians_hide(true: float) -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        slow = np.repeat(np.exp(rng.normal(0, 0.2, 10)), 4)  # episodes of the machine
        first, second = slow * np.exp(rng.normal(0, 0.01, (2, 40)))
        moments = 10.0 * np.arange(40)
        found = paired_ratio(
            list(zip(moments, first, strict=True)),
            list(zip(moments + 0.1, true * second, strict=True)),
        )
        assert found is not None
        value, low, high = found
        assert low <= value <= high
        assert value == pytest.approx(true, abs=0.015)
        held.append(low <= true <= high)
    assert np.mean(held) > 0.9


def test_few_pairs_tell_nothing() -> None:
    taken = [(float(moment), 1.0) for moment in range(0, 50, 10)]
    assert paired_ratio(taken, taken) == (1.0, 1.0, 1.0)
    assert paired_ratio(taken[1:], taken) is None
    assert paired_ratio(taken, [(moment + 5, least) for moment, least in taken]) is None

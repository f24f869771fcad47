import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elastic.search.strategies.sng import AdaptiveTheta, Theta, utilities

SIZES = [4] + [12] * 12  # YOCO-BERT's


def drawn(theta: Theta, rng: np.random.Generator):
    # As rng.choice, which checks for longer than it draws.
    return tuple(int(np.searchsorted(row.cumsum(), rng.random() * row.sum())) for row in theta.rows)


@pytest.mark.parametrize(
    ("losses", "wanted"),
    [
        ([1, 2], [1, -1]),
        ([2, 2], [0, 0]),
        ([3, 1, 2, 5], [0, 1, 0, -1]),
        ([1, 1, 2, 5], [0.5, 0.5, 0, -1]),
        ([np.inf, 1], [-1, 1]),
    ],
)
def test_the_best_gain_the_worst_lose_and_equals_share(losses, wanted) -> None:
    assert utilities(np.array(losses, float)) == pytest.approx(wanted)


@settings(max_examples=30)
@given(st.integers(0, 99), st.sampled_from([Theta, AdaptiveTheta]))
def test_probabilities_stay_probabilities_and_no_level_is_lost(seed, kind) -> None:
    rng, theta = np.random.default_rng(seed), kind([1, 2, 3, 7])
    for _ in range(50):
        theta.step([drawn(theta, rng) for _ in range(2)], rng.permutation([1.0, -1.0]))
    for row in theta.rows:
        assert row.sum() == pytest.approx(1)
        assert row.min() >= 0.99 / (3 * max(1, len(row) - 1)) or len(row) == 1


def test_a_step_has_the_fisher_length_it_is_given() -> None:
    theta = Theta([3, 3])
    theta.length = 1e-3
    before = [row.copy() for row in theta.rows]
    theta.step([(0, 1), (2, 1)], np.array([1.0, -1.0]))
    moved = [(b - a)[:2] for a, b in zip(before, theta.rows, strict=True)]
    fishers = [np.diag(1 / row[:2]) + 1 / row[2] for row in before]
    length = sum(step @ fisher @ step for step, fisher in zip(moved, fishers, strict=True))
    assert np.sqrt(length) == pytest.approx(1e-3)


def test_noise_alone_makes_sng_collapse_and_asng_not() -> None:
    largest = {}
    for kind in (Theta, AdaptiveTheta):
        rng, theta = np.random.default_rng(0), kind(SIZES)
        for _ in range(300):
            theta.step([drawn(theta, rng) for _ in range(2)], utilities(rng.normal(size=2)))
        largest[kind] = np.mean([row.max() for row in theta.rows])
    assert largest[Theta] > 0.6  # 0.72 in the published analysis of the released code
    assert largest[AdaptiveTheta] < 0.45


def test_ties_alone_move_nothing() -> None:
    rng, theta = np.random.default_rng(0), Theta(SIZES)
    for _ in range(50):
        theta.step([drawn(theta, rng) for _ in range(2)], utilities(np.ones(2)))
    assert all(row == pytest.approx(1 / len(row)) for row in theta.rows)


def test_a_signal_is_followed_through_noise() -> None:
    rng, theta = np.random.default_rng(0), AdaptiveTheta(SIZES)
    worth = [rng.permutation(len(row)) / len(row) for row in theta.rows]
    for _ in range(2000):
        choices = [drawn(theta, rng) for _ in range(2)]
        losses = [sum(w[k] for w, k in zip(worth, c, strict=True)) for c in choices]
        theta.step(choices, utilities(np.array(losses) + rng.normal(0, 0.5, 2)))
    mean = np.mean([row @ w for row, w in zip(theta.rows, worth, strict=True)])
    assert mean < 0.15  # 0.46 where nothing was learnt, 0 at best

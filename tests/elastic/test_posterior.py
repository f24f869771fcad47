import numpy as np
import pytest

from elastic.search.strategies.posterior import Belief, Draw, Posterior


def belief(mean, spread, **others) -> Belief:
    given = {
        "power": 1.0, "alike": np.eye(len(mean)), "pairs": 0.1, "width": np.ones(len(mean)),
        "noise": 0.1,
    }  # fmt: skip
    return Belief(mean=mean, spread=spread, **{**given, **others})


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_draws_given_losses_go_through_them_and_spread_elsewhere(power: float) -> None:
    rng = np.random.default_rng(0)
    features = (rng.random((12, 5)) < 0.5).astype(float)
    features[:, 0] = 1.0
    truth = Draw(power, rng.exponential(size=5), 0.2 * np.ones((5, 5)))
    told, rest = features[:8], features[8:]
    prior = belief(np.ones(5), np.ones(5), power=power, noise=1e-3)
    posterior = Posterior(prior, told, truth.losses(told))
    draws = [posterior.draw(rng) for _ in range(200)]
    assert np.abs([draw.losses(told) / truth.losses(told) - 1 for draw in draws]).max() < 0.02
    spread = np.std([draw.losses(rest) for draw in draws], axis=0)
    assert spread.max() > 0.05


def test_a_loss_is_a_power_of_its_sum_and_never_below_nothing() -> None:
    draw = Draw(0.5, np.array([3.0, -5.0]), np.zeros((2, 2)))
    assert draw(np.eye(2)).tolist() == [3.0, -5.0]
    assert draw.losses(np.eye(2)).tolist() == [9.0, 0.0]


def test_draws_have_the_covariance_of_the_prior() -> None:
    rng = np.random.default_rng(1)
    features = (rng.random((4, 6)) < 0.6).astype(float)
    spread, width = rng.exponential(size=(2, 6))
    alike = np.kron(np.eye(2), 0.8 ** np.abs(np.subtract.outer(range(3), range(3))))
    prior = belief(np.zeros(6), spread, alike=alike, pairs=0.3, width=width)
    posterior = Posterior(prior, np.zeros((0, 6)), np.zeros(0))
    found = np.cov(np.array([posterior.draw(rng)(features) for _ in range(20_000)]).T)
    sums, pairs = (
        (features * scale) @ alike @ (features * scale).T for scale in (spread, np.sqrt(width))
    )
    assert found == pytest.approx(sums + 0.3 * pairs**2, abs=0.1 * found.max())


def test_squares_of_coefficients_are_those_of_draws() -> None:
    rng = np.random.default_rng(4)
    features = (rng.random((5, 4)) < 0.6).astype(float)
    features[:, 3] = 0.0  # nothing is told of it
    mean = np.arange(1.0, 5.0)
    alike = np.array([[1.0, 0.9, 0, 0], [0.9, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])
    prior = belief(mean, mean / 2, alike=alike, width=mean)
    posterior = Posterior(prior, features, np.arange(2.0, 7.0))
    draws = np.array([posterior.draw(rng).linear for _ in range(20_000)])
    assert posterior.squares() == pytest.approx(np.square(draws).mean(0), rel=0.05)
    assert posterior.squares()[3] == pytest.approx(4.0**2 * 1.25)


def test_the_evidence_prefers_the_prior_that_made_the_losses() -> None:
    rng = np.random.default_rng(2)
    features = (rng.random((30, 8)) < 0.5).astype(float)
    mean = rng.exponential(size=8)
    losses = features @ mean + 0.1
    right, wrong = (belief(m, 0.3 * m, pairs=0.0, noise=0.03) for m in (mean, mean[::-1]))
    one, other = (Posterior(prior, features, losses).evidence for prior in (right, wrong))
    assert one > other


def test_the_evidence_is_of_the_losses_whatever_power_of_them_is_a_sum() -> None:
    """As a density of one loss it comes to 1."""
    features, losses = np.ones((1, 1)), np.linspace(0.2, 5.0, 1001)[:, None]
    for power in (1.0, 0.5):
        prior = belief(np.array([1.5]), np.array([0.1]), power=power, pairs=0.0, noise=1e-3)
        logs = [Posterior(prior, features, loss).evidence for loss in losses]
        density = np.exp(logs) / np.sqrt(2 * np.pi)
        assert np.trapezoid(density, losses[:, 0]) == pytest.approx(1.0, abs=0.01)

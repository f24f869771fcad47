import itertools

import numpy as np

from elastic.search.strategies.prior import Hyperparameters, Prior

LEVELS = 4


def test_a_flat_prior_learns_which_cuts_are_harmless() -> None:
    cost = np.array([1e-4, 0.3, 1e-4, 0.1, 1e-4, 0.2])
    prior = Prior([np.array([0.0, 1.0])] * 6)
    every = list(itertools.product(range(2), repeat=6))
    told = np.random.default_rng(5).permutation(every)[:24]
    losses = np.square(told @ np.sqrt(cost)) + 1e-3
    asked = Hyperparameters(trust=0.8, pairs=1.0)
    learned = prior.belief(asked, prior.features(told), losses, learned=True).mean
    assert learned[::2].max() < 0.3 * learned[1::2].min(), learned


def test_what_a_level_costs_at_some_positions_is_learned_for_all() -> None:
    cost = np.array([0.0, 1.0, 0.1])  # more is cut with less harm, other than the prior says
    prior = Prior([np.array([0.0, 1.0, 1.0])] * 6)
    told = np.random.default_rng(6).integers(0, 3, (20, 6))
    told[:, 5] = 0  # nothing is told of the last position
    losses = cost[told].sum(1) + 1e-3
    learned = prior.belief(Hyperparameters(), prior.features(told), losses, learned=True).mean
    assert learned[-1] < 0.6 * learned[-2]


def test_the_evidence_tells_what_power_of_the_loss_is_a_sum() -> None:
    rng = np.random.default_rng(7)
    cost = rng.exponential(size=(5, LEVELS)).cumsum(1) * (np.arange(LEVELS) > 0)
    for power in (1.0, 0.5):
        prior = Prior([row ** (1 / power) for row in cost])
        told = rng.integers(0, LEVELS, (40, 5))
        losses = (cost[np.arange(5), told].sum(1) + 1e-3) ** (1 / power)
        known = Hyperparameters()
        for _ in range(5):
            known = prior.evident(known, prior.features(told), losses, rng, learned=True)
            assert known.power == power

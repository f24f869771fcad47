import itertools

import numpy as np
import pytest

from elastic.search.strategies.natural_gradient import (
    Belief,
    Draw,
    Hyperparameters,
    NaturalGradient,
    Posterior,
)

LEVELS = 4


class Fitting:
    """A budget over a small space that can be enumerated; each level down saves a unit."""

    def __init__(self, positions: int, saved: int) -> None:
        self.saved = saved
        self.every = np.array(list(itertools.product(range(LEVELS), repeat=positions)))

    def fits(self, choices):
        return choices.sum(1) >= self.saved

    def ranked(self, errors):
        inside = self.every[self.fits(self.every)]
        sums = sum(row[part] for row, part in zip(errors, inside.T, strict=True))
        yield from map(tuple, inside[np.argsort(sums, kind="stable")].tolist())

    def decode(self, errors):
        return next(self.ranked(errors), None)


def world(seed: int, positions: int = 6):
    """A true loss with pairs, and its optimum under a budget."""
    rng = np.random.default_rng(seed)
    worth = [np.append(0.0, np.cumsum(rng.exponential(size=LEVELS - 1))) for _ in range(positions)]
    pairs = np.triu(rng.exponential(0.15, size=(positions, positions)), 1)
    budget = Fitting(positions, 2 * positions)

    def loss(choice) -> float:
        alone = np.array([row[k] for row, k in zip(worth, choice, strict=True)])
        return float(alone.sum() + alone @ pairs @ alone)

    inside = budget.every[budget.fits(budget.every)]
    return worth, budget, loss, min(map(loss, inside.tolist()))


def flat(worth):
    return [np.append(0.0, np.ones(LEVELS - 1)) for _ in worth]


def regret(prior, budget, loss, least, seed: int, evaluations: int) -> float:
    strategy = NaturalGradient(prior, [budget], seed=seed)
    for _ in range(evaluations):
        choice = strategy.ask()
        strategy.tell(choice, loss(choice))
    return loss(strategy.best()[0]) / least - 1


def test_draws_given_losses_go_through_them_and_spread_elsewhere() -> None:
    rng = np.random.default_rng(0)
    features = (rng.random((12, 5)) < 0.5).astype(float)
    features[:, 0] = 1.0
    truth = Draw(rng.exponential(size=5), 0.2 * np.ones((5, 5)))
    belief = Belief(np.ones(5), np.ones(5), 0.1, np.ones(5), 1e-3)
    told, rest = features[:8], features[8:]
    posterior = Posterior(belief, told, truth(told))
    draws = [posterior.draw(rng) for _ in range(200)]
    assert np.abs([draw(told) / truth(told) - 1 for draw in draws]).max() < 0.02
    spread = np.std([draw(rest) for draw in draws], axis=0)
    assert spread.max() > 0.05


def test_draws_have_the_covariance_of_the_prior() -> None:
    rng = np.random.default_rng(1)
    features = (rng.random((4, 6)) < 0.6).astype(float)
    spread, width = rng.exponential(size=(2, 6))
    belief = Belief(np.zeros(6), spread, 0.3, width, 0.1)
    posterior = Posterior(belief, np.zeros((0, 6)), np.zeros(0))
    found = np.cov(np.array([posterior.draw(rng)(features) for _ in range(20_000)]).T)
    sums, pairs = ((features * scale) @ features.T for scale in (np.square(spread), width))
    assert found == pytest.approx(sums + 0.3 * pairs**2, abs=0.1 * found.max())


def test_squares_of_coefficients_are_those_of_draws() -> None:
    rng = np.random.default_rng(4)
    features = (rng.random((5, 4)) < 0.6).astype(float)
    features[:, 3] = 0.0  # nothing is told of it
    mean = np.arange(1.0, 5.0)
    belief = Belief(mean, mean / 2, 0.1, mean, 0.1)
    posterior = Posterior(belief, features, np.arange(2.0, 7.0))
    draws = np.array([posterior.draw(rng).linear for _ in range(20_000)])
    assert posterior.squares() == pytest.approx(np.square(draws).mean(0), rel=0.05)
    assert posterior.squares()[3] == pytest.approx(4.0**2 * 1.25)


def test_the_evidence_prefers_the_prior_that_made_the_losses() -> None:
    rng = np.random.default_rng(2)
    features = (rng.random((30, 8)) < 0.5).astype(float)
    mean = rng.exponential(size=8)
    losses = features @ mean + 0.1
    right, wrong = (Belief(m, 0.3 * m, 0.0, m, 0.03) for m in (mean, mean[::-1]))
    one, other = (Posterior(belief, features, losses).evidence for belief in (right, wrong))
    assert one > other


@pytest.mark.parametrize("prior", ["good", "flat", "misleading"])
def test_it_finds_nearly_the_best_of_thousands_in_sixty(prior) -> None:
    regrets = []
    for seed in range(4):
        worth, budget, loss, least = world(seed)
        given = {"good": worth, "flat": flat(worth), "misleading": worth[::-1]}[prior]
        regrets.append(regret(given, budget, loss, least, seed, 60))
    assert np.mean(regrets) < 0.02


def test_the_first_choice_is_what_the_prior_decodes() -> None:
    worth, budget, _, _ = world(0)
    assert NaturalGradient(worth, [budget], seed=0).ask() == budget.decode(worth)


def test_when_all_are_told_nothing_is_left() -> None:
    worth, budget, loss, least = world(0, positions=2)
    strategy = NaturalGradient(worth, [budget], seed=0)
    told = 0
    while (choice := strategy.ask()) is not None:
        strategy.tell(choice, loss(choice))
        told += 1
    assert told == budget.fits(budget.every).sum()
    assert loss(strategy.best()[0]) == least


def test_a_certificate_bounds_what_is_left_to_gain() -> None:
    """Nothing is below the bound more often than it admits, and the bound rises as more is told."""
    held, gains = [], {10: [], 60: []}
    for seed in range(8):
        worth, budget, loss, least = world(seed)
        strategy = NaturalGradient(flat(worth), [budget], seed=seed)
        for told in range(1, 61):
            choice = strategy.ask()
            strategy.tell(choice, loss(choice))
            if told in gains:
                certificate = strategy.certificate()
                assert certificate.loss == loss(strategy.best()[0])
                assert 0 <= certificate.bound <= certificate.loss
                held.append(certificate.bound <= least * (1 + 1e-9))
                gains[told].append(certificate.gain)
    assert np.mean(held) >= 0.8
    assert np.mean(gains[60]) < 0.5 * np.mean(gains[10])


def test_nothing_told_is_nothing_to_certify() -> None:
    worth, budget, _, _ = world(0)
    assert NaturalGradient(worth, [budget], seed=0).certificate() is None


def test_a_further_budget_begins_with_what_others_taught() -> None:
    worth, budget, loss, _ = world(0)
    strategy = NaturalGradient(flat(worth), [budget], seed=0)
    for _ in range(40):
        choice = strategy.ask()
        strategy.tell(choice, loss(choice))
    further = Fitting(len(worth), budget.saved + 2)
    number = strategy.add(further)
    for _ in range(4):
        choice = strategy.ask(number)
        strategy.tell(choice, loss(choice))
    inside = further.every[further.fits(further.every)]
    least = min(map(loss, inside.tolist()))
    alone = loss(further.decode(flat(worth)))
    assert loss(strategy.best(number)[0]) - least < 0.2 * (alone - least)


def test_each_budget_is_given_choices_of_its_own_in_the_end() -> None:
    worth, _, loss, _ = world(0)
    budgets = [Fitting(6, saved) for saved in (14, 10, 6)]
    strategy = NaturalGradient(worth, budgets, seed=0)
    asked = []
    for choice in strategy.ask_each(range(3), 9, 2):
        asked.append(choice)
        strategy.tell(choice, loss(choice))
    assert len(set(asked)) == 9
    for number, choice in enumerate(asked[3:]):
        assert budgets[number % 3].fits(np.array([choice]))[0]


def test_what_is_expected_to_be_best_is_best_where_losses_add_up() -> None:
    worth, budget, _, _ = world(0)

    def loss(choice) -> float:
        return sum(float(row[level]) for row, level in zip(worth, choice, strict=True))

    strategy = NaturalGradient(worth, [budget], seed=0)
    for choice in strategy.ask_each([0], 1, 1):
        strategy.tell(choice, loss(choice))
    inside = budget.every[budget.fits(budget.every)]
    assert loss(strategy.best()[0]) == pytest.approx(min(map(loss, inside.tolist())))


def test_a_turn_of_which_nothing_is_left_is_passed_over() -> None:
    worth, _, loss, _ = world(0, positions=1)
    strategy = NaturalGradient(worth, [Fitting(1, 3), Fitting(1, 2)], seed=0)
    asked = []
    for choice in strategy.ask_each(range(2), 8, 4):
        asked.append(choice)
        strategy.tell(choice, loss(choice))
    assert sorted(asked) == [(2,), (3,)]


def test_a_flat_prior_learns_which_cuts_are_harmless() -> None:
    cost = np.array([1e-4, 0.3, 1e-4, 0.1, 1e-4, 0.2])
    strategy = NaturalGradient([np.array([0.0, 1.0])] * 6, seed=0)
    told = list(itertools.product(range(2), repeat=6))
    for choice in np.random.default_rng(5).permutation(told)[:24].tolist():
        strategy.tell(tuple(choice), float(np.square(np.sqrt(cost) @ choice)) + 1e-3)
    learned = strategy._belief(Hyperparameters(0.0, 0.8, 1.0, 0.03), learned=True).mean
    assert learned[::2].max() < 0.3 * learned[1::2].min(), learned

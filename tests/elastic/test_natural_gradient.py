import numpy as np
import pytest

from elastic.search.strategies.natural_gradient import NaturalGradient

LEVELS = 4


class Fitting:
    """A budget over a small space that can be enumerated; each level down saves a unit."""

    def __init__(self, positions: int, saved: int) -> None:
        self.saved = saved
        every = np.indices((LEVELS,) * positions).reshape(positions, -1).T
        self.inside = every[self.fits(every)]

    def fits(self, choices):
        return choices.sum(1) >= self.saved

    def ranked(self, errors):
        for index in np.argsort(self._sums(errors), kind="stable"):
            yield tuple(self.inside[index].tolist())

    def decode(self, errors):
        return tuple(self.inside[np.argmin(self._sums(errors))].tolist())

    def _sums(self, errors):
        return sum(row[part] for row, part in zip(errors, self.inside.T, strict=True))

    def least(self, loss) -> float:
        return min(map(loss, self.inside.tolist()))


def world(seed: int, positions: int = 6):
    """A true loss with pairs, and its optimum under a budget."""
    rng = np.random.default_rng(seed)
    worth = [np.append(0.0, np.cumsum(rng.exponential(size=LEVELS - 1))) for _ in range(positions)]
    pairs = np.triu(rng.exponential(0.15, size=(positions, positions)), 1)
    budget = Fitting(positions, 2 * positions)

    def loss(choice) -> float:
        alone = np.array([row[k] for row, k in zip(worth, choice, strict=True)])
        return float(alone.sum() + alone @ pairs @ alone)

    return worth, budget, loss, budget.least(loss)


def flat(worth):
    return [np.append(0.0, np.ones(LEVELS - 1)) for _ in worth]


def regret(prior, budget, loss, least, seed: int, evaluations: int) -> float:
    strategy = NaturalGradient(prior, [budget], seed=seed)
    for _ in range(evaluations):
        choice = strategy.ask()
        strategy.tell(choice, loss(choice))
    return loss(strategy.best()[0]) / least - 1


@pytest.mark.parametrize("prior", ["good", "misleading"])  # a flat one is certified below
def test_it_finds_nearly_the_best_of_thousands_in_sixty(prior) -> None:
    regrets = []
    for seed in range(3):
        worth, budget, loss, least = world(seed)
        given = {"good": worth, "misleading": worth[::-1]}[prior]
        regrets.append(regret(given, budget, loss, least, seed, 60))
    assert np.mean(regrets) < 0.02


def test_the_first_choice_is_what_the_prior_decodes() -> None:
    worth, budget, _, _ = world(0)
    assert NaturalGradient(worth, [budget], seed=0).ask() == budget.decode(worth)


@pytest.mark.parametrize(("single_cuts", "begun_with"), [("right", 2), ("misleading", 4)])
def test_scattered_choices_are_asked_for_as_long_as_the_best_is_one(
    single_cuts, begun_with
) -> None:
    cost = np.array([1.0, 4.0, 1.5, 5.0, 1.2, 6.0, 1.1, 4.5])
    worth = [scale * np.square(np.arange(LEVELS)) for scale in cost]
    prior = worth if single_cuts == "right" else [30 / np.maximum(row, 1e-3) for row in worth]
    strategy = NaturalGradient(prior, [Fitting(8, 10)], seed=0)
    for _ in range(10):
        choice = strategy.ask()
        alone = sum(float(row[k]) for row, k in zip(worth, choice, strict=True))
        strategy.tell(choice, alone)
    assert len(strategy.state()["scattered"]) == begun_with


def test_when_all_are_told_nothing_is_left() -> None:
    worth, budget, loss, least = world(0, positions=2)
    strategy = NaturalGradient(worth, [budget], seed=0)
    told = 0
    while (choice := strategy.ask()) is not None:
        strategy.tell(choice, loss(choice))
        told += 1
    assert told == len(budget.inside)
    assert loss(strategy.best()[0]) == least


def test_a_certificate_bounds_what_is_left_to_gain() -> None:
    """Nothing is below the bound more often than it admits, and the bound rises as more is told; what is
    told is nearly the best, after a prior that knows nothing too."""
    held, gains, regrets = [], {10: [], 60: []}, []
    for seed in range(6):
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
        regrets.append(loss(strategy.best()[0]) / least - 1)
    assert np.mean(held) >= 0.8
    assert np.mean(gains[60]) < 0.5 * np.mean(gains[10])
    assert np.mean(regrets) < 0.02


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
    least = further.least(loss)
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


def test_hundreds_of_budgets_share_few_evaluations() -> None:
    worth, _, loss, _ = world(0, positions=5)
    budgets = [budget for saved in range(1, 11) for budget in [Fitting(5, saved)] * 30]
    strategy = NaturalGradient(flat(worth), budgets, seed=0)
    for choice in strategy.ask_each(range(len(budgets)), 60, turns=2):
        strategy.tell(choice, loss(choice))
    assert len(strategy.losses) <= 60
    for number in range(0, len(budgets), 30):
        assert loss(strategy.best(number)[0]) <= 1.5 * budgets[number].least(loss)


def test_what_is_expected_to_be_best_is_best_where_losses_add_up() -> None:
    worth, budget, _, _ = world(0)

    def loss(choice) -> float:
        return sum(float(row[level]) for row, level in zip(worth, choice, strict=True))

    strategy = NaturalGradient(worth, [budget], seed=0)
    for choice in strategy.ask_each([0], 1, 1):
        strategy.tell(choice, loss(choice))
    assert loss(strategy.best()[0]) == pytest.approx(budget.least(loss))


def test_what_the_best_leaves_of_its_budget_is_spent() -> None:
    worth, budget, _, _ = world(0)
    strategy = NaturalGradient(worth, [budget], seed=0)
    assert strategy.ask_spent(0) is None
    strategy.tell((3,) * 6, 1.0)
    spent = strategy.ask_spent(0)
    assert spent == budget.decode(worth)
    strategy.tell(spent, 2.0)
    assert strategy.ask_spent(0) is None
    strategy.tell((1, 3, 3, 3, 3, 3), 0.5)
    [first, *_] = strategy.ask_spent(0)
    assert first <= 1


def test_a_turn_of_which_nothing_is_left_is_passed_over() -> None:
    worth, _, loss, _ = world(0, positions=1)
    strategy = NaturalGradient(worth, [Fitting(1, 3), Fitting(1, 2)], seed=0)
    asked = []
    for choice in strategy.ask_each(range(2), 8, 4):
        asked.append(choice)
        strategy.tell(choice, loss(choice))
    assert sorted(asked) == [(2,), (3,)]

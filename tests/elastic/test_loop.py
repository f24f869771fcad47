"""What the loop makes of a measurement; the loop as a whole is in tests/cutonce/test_search.py."""

import re
from dataclasses import replace

import numpy as np
import pytest

from deploy.architecture import uniform
from deploy.workload import Workload
from devices.errors import BudgetUnreachable
from elastic.search import loop
from elastic.search.budget import Budget
from elastic.search.deployment import Deployed
from elastic.search.judge import Judge
from elastic.search.knapsack import cheapest
from elastic.search.rounds import AIM, Cut, Round, Taken
from elastic.search.supernet import Network, Supernet
from elastic.space import SearchSpace
from elastic.trunk import DENSE, Trunk
from predictors.predictor import LatencyPredictor
from profiler.measurement import Measurement
from profiler.visit import Visit

SPACE = SearchSpace.around(uniform(2, 64, 4, 256, vocabulary=50))
TARGET = Budget.parse("fake/fake/fp32=1ms").target
ERRORS = [np.arange(len(some), dtype=float) for some in SPACE.choices]


def supernet(joint=lambda choice, _: float(sum(choice)), trunk=DENSE) -> Supernet:
    """That is never asked for its encoder."""
    return Supernet(trunk, None, None, SPACE, ERRORS, Judge(ERRORS, joint))


SUPERNET = supernet()


def took(ms: float, spread: float = 0.0) -> Measurement:
    """Nine visits; with ``spread`` two of three take longer by that share."""
    visits = tuple(Visit(float(i), (ms * (1 + spread * (i % 3 > 0)),) * 2) for i in range(9))
    return Measurement("c", TARGET, "f", SPACE.base, Workload(), "f32", visits)


def begun(text: str, dense: float) -> Cut:
    [cut] = begun_on([SUPERNET], text, dense)
    return cut


def begun_on(supernets: list[Supernet], text: str, dense: float) -> list[Cut]:
    rng = np.random.default_rng(0)
    known = [SPACE.architecture(SPACE.sample(rng)) for _ in range(8)]
    ms = [0.1 + sum(getattr(op, "width", 64) for op in a.operators) / 100 for a in known]
    budget = Budget.parse(text)
    predictor = LatencyPredictor().fit(known, [Workload()] * 8, ms)
    table = predictor.table(SPACE.base, SPACE.choices, Workload())
    whole = supernets[0].dense
    measured = {(c.target, whole): Deployed(took(dense), 8000) for c in budget.constraints}
    return loop._begin(supernets, lambda *_: table, budget, measured)


def step(cut, level, took_ms, *, predicted=(1.0, 1.0, 1.0), dense=8.0, size=500) -> Round:
    """A round of the network with ``level`` everywhere; milliseconds, or measurements."""
    own, whole = (
        some if isinstance(some, Measurement) else took(some) for some in (took_ms, dense)
    )
    taken = (
        Taken(c, predicted, Deployed(own, size), Deployed(whole, 8000))
        for c in cut.budget.constraints
    )
    return Round(Network(cut.supernet, (level,) * 4), tuple(taken))


def test_a_miss_tightens_and_slack_widens_what_is_allowed() -> None:
    for ms, allowed in ((4.4, 4.0 * AIM * 4.0 / 4.4), (3.0, 4.0 * AIM * 4.0 / 3.0)):
        cut = begun("fake/fake/fp32=4ms", dense=8.0)
        cut.feed_back(step(cut, 1, ms, predicted=(3.5, 3.8, 4.0)))
        assert not cut.done
        assert cut.allowed == [pytest.approx(allowed)]
    cut.feed_back(step(cut, 1, 3.9))
    assert cut.done


def test_what_is_allowed_goes_by_all_rounds() -> None:
    cut = begun("fake/fake/fp32=4ms", dense=8.0)
    for ms in (4.8, 3.2):
        cut.feed_back(step(cut, 1, ms, predicted=(3.5, 3.8, 4.0)))
    assert cut.allowed == [pytest.approx(4.0 * AIM / (1.2 * 0.8) ** 0.5)]


def test_a_repeated_network_with_slack_widens_what_is_allowed_once() -> None:
    cut = begun("fake/fake/fp32=4ms", dense=8.0)
    slack = step(cut, 1, 3.2, predicted=(4.0, 4.0, 4.0))
    for one in (step(cut, 0, 4.8, predicted=(4.0, 4.0, 4.0)), slack):
        cut.feed_back(one)
    for done in (False, True):
        cut.repeat(slack)
        assert cut.allowed == [pytest.approx(4.0 * AIM / 0.8)]
        assert cut.done is done


def test_where_much_is_in_doubt_less_is_aimed_at() -> None:
    cut = begun("fake/fake/fp32=4ms", dense=8.0)
    cut.feed_back(step(cut, 1, took(4.0, spread=0.21), predicted=(4.0, 4.0, 4.0)))
    assert cut.allowed == [pytest.approx(4.0 / 1.1)]


def test_the_fitting_network_of_least_error_is_chosen() -> None:
    cut = begun("fake/fake/fp32=4ms", dense=8.0)
    steps = [step(cut, level, ms) for level, ms in ((1, 4.1), (2, 3.9), (3, 3.0))]
    for one in steps:
        cut.feed_back(one)
    assert cut.chosen is steps[1]
    cut.rounds = steps[:1]
    assert cut.chosen is steps[0]
    assert not steps[0].fits


def test_a_relative_budget_is_judged_beside_the_dense_model() -> None:
    cut = begun("fake/fake/fp32=0.5x", dense=8.0)
    slow = step(cut, 1, 4.7, dense=9.6)
    assert slow.first.limit == pytest.approx(4.8)
    assert slow.fits
    assert slow.speedup == pytest.approx(9.6 / 4.7)


def test_a_fraction_surely_fits_where_that_of_both_measurements_does() -> None:
    cut = begun("fake/fake/fp32=0.5x", dense=8.0)
    whole = took(8.0, spread=0.05)
    close = step(cut, 1, 3.95, dense=whole)
    assert close.fits
    assert not close.surely  # the dense model may be quicker than it was
    assert step(cut, 1, 3.7, dense=whole).surely


def test_the_dense_model_is_kept_where_it_fits() -> None:
    cut = begun("fake/fake/fp32=9ms", dense=8.0)
    assert cut.done
    assert cut.chosen.network == SUPERNET.dense


def test_drift_matters_to_absolute_budgets_alone() -> None:
    said: list[str] = []
    for text in ("fake/fake/fp32=4ms", "fake/fake/fp32=0.5x"):
        both = ({(TARGET, SUPERNET.dense): Deployed(took(ms), 1000)} for ms in (1.0, 1.3))
        loop._check_drift(Budget.parse(text).constraints, SUPERNET.dense, *both, said.append)
    assert len(said) == 1
    assert "1.30 times" in said[0]


def test_a_fit_that_noise_may_undo_is_not_the_end() -> None:
    cut = begun("fake/fake/fp32=4ms", dense=8.0)
    close = step(cut, 1, took(3.95, spread=0.05))
    assert close.fits
    assert not close.surely
    cut.feed_back(close)
    assert not cut.done
    sure = step(cut, 2, 3.9)
    cut.feed_back(sure)
    assert cut.done
    assert cut.chosen is sure


def test_a_contender_would_be_chosen_if_only_it_surely_fitted() -> None:
    cut = begun("fake/fake/fp32=4ms", dense=8.0)
    doubtful = step(cut, 1, took(3.95, spread=0.05))
    for one in (step(cut, 0, 4.1), doubtful, step(cut, 2, took(3.9, spread=0.05))):
        cut.feed_back(one)
    assert cut.contender is doubtful
    cut.feed_back(step(cut, 3, 3.9))
    assert cut.contender is doubtful
    cut.confirm(step(cut, 1, 3.95))  # nine visits that agree
    assert cut.contender is None
    assert len(cut.chosen.measurement.visits) == 18
    assert cut.chosen.network == doubtful.network


class Machine:
    """A deployment whose first visits to a network are scattered; those of a confirmation are not."""

    workload = Workload()

    def __init__(self) -> None:
        self.campaigns: dict[str, int] = {}

    def measure(self, name, wanted, weighed):
        assert not weighed
        self.campaigns[name] = len(set(wanted))
        spread = 0.0 if name.startswith("confirmation") else 0.2
        return {
            (target, network): Deployed(
                took(8.0)
                if network.is_dense
                else took(8.0 - sum(network.choice) / 2, spread=spread),
                1000,
            )
            for target, network in wanted
        }


def test_what_is_in_doubt_is_confirmed_before_it_is_chosen() -> None:
    machine, budget = Machine(), Budget.parse("fake/fake/fp32=0.7x")
    rng = np.random.default_rng(0)
    known = [SPACE.architecture(SPACE.sample(rng)) for _ in range(8)]
    ms = [1 + sum(getattr(op, "width", 64) for op in a.operators) / 100 for a in known]
    predictor = LatencyPredictor().fit(known, [Workload()] * 8, ms)
    cuts = loop.cut_to_budgets(
        machine,
        [SUPERNET],
        {(TARGET, "intrinsic"): predictor},
        [budget],
        label_losses=pytest.fail,
        rounds=2,
        warn=pytest.fail,
    )
    confirmed = [name for name in machine.campaigns if name.startswith("confirmation")]
    assert confirmed
    assert all(machine.campaigns[name] == 2 for name in confirmed)  # the dense model beside it
    assert cuts[0].chosen.surely
    assert len(cuts[0].chosen.measurement.visits) > 9


def test_a_budget_out_of_reach_is_said_and_the_others_stay() -> None:
    said: list[str] = []
    cuts = [begun("fake/fake/fp32=4ms", dense=8.0) for _ in range(2)]
    cuts[1].allowed = [0.0]
    assert loop._reachable([[cut] for cut in cuts], said.append) == [cuts[:1]]
    assert "fastest reachable" in said[0]
    with pytest.raises(BudgetUnreachable, match="fastest reachable"):
        loop._reachable([cuts[1:]], said.append)
    with pytest.raises(BudgetUnreachable, match="None of the budgets"):
        loop._reachable([cuts[1:]] * 2, said.append)


def test_what_is_said_of_many_trunks_is_about_the_nearest() -> None:
    far, near = (begun("fake/fake/fp32=4ms", dense=ms) for ms in (8.0, 16.0))
    least = near.table.upper(cheapest(near.table))
    far.allowed, near.allowed = [0.2 * least], [0.5 * least]
    sentence = loop._obstacle(near).sentence
    assert sentence != loop._obstacle(far).sentence
    with pytest.raises(BudgetUnreachable, match=re.escape(sentence)):
        loop._reachable([[far, near]], print)


def test_a_budget_is_cut_on_the_trunk_of_least_error() -> None:
    """The trunk costs something by itself, and saves what the others' cuts cost."""
    cheap = supernet(lambda choice, _: 0.5 + 0.1 * sum(choice), Trunk(rank=8))
    tight, loose = (
        begun_on([SUPERNET, cheap], f"fake/fake/fp32={share}x", dense=8.0) for share in (0.3, 1.0)
    )
    assert [cut.done for cut in loose] == [True, True]
    found = loop._on_best_supernets([tight, loose])
    assert [[cut.supernet for cut in cuts] for cuts in found] == [[cheap], [SUPERNET]]


def test_every_limit_counts_and_the_tightest_decides() -> None:
    cut = begun("fake/fake/fp32=4ms,0.0004MB", dense=8.0)
    assert not step(cut, 1, 3.0, size=500).fits
    both = step(cut, 1, 2.0, size=390, predicted=(2.0, 2.0, 2.0))
    assert both.surely
    assert both.share == pytest.approx(0.975)
    cut.feed_back(both)
    assert cut.done  # there is no size left to use
    assert cut.allowed == pytest.approx([2 * AIM / 0.5, 2 * AIM / 0.975])


def test_limits_that_contradict_each_other_are_named() -> None:
    text = "fake/fake/fp32=4ms,0.004MB,fake/fake/int8=3ms"
    cut = begun(text, dense=8.0)
    mirrored = replace(
        cut.tables[2], rows=tuple(2 * row.max(0) - row for row in cut.tables[2].rows)
    )
    cut.tables = [*cut.tables[:2], mirrored]
    least = [table.upper(cheapest(table)) for table in cut.tables]
    cut.allowed = [least[0] * 1.01, 1e9, least[2] * 1.01]
    said = loop._obstacle(cut)
    assert said is not None
    assert "keeps fake/fake/fp32@2=4ms and fake/fake/int8@2=3ms" in said.sentence
    cut.allowed[2] = 1e9
    assert loop._obstacle(cut) is None


@pytest.mark.parametrize(
    ("share", "gain", "is_taken"),
    [
        (0.1, None, True),
        (0.1, -0.2, False),
        (2.0, None, False),
        (2.0, 0.09, False),
        (2.0, 0.2, True),
    ],
)
def test_what_was_taught_is_cut_where_labels_tell_or_it_is_nearer(share, gain, is_taken) -> None:
    """``gain``: over the other by the labels, in nats of losses that vary by 0.1 from text to text."""
    taught = replace(supernet(lambda choice, _: share * float(sum(choice))), taught=True)
    noise = 0.1 * np.array([1.0, -1.0, 1.0, -1.0])

    def losses(network: Network) -> np.ndarray | None:
        if gain is None:
            return None
        return noise - gain if network.supernet.taught else np.zeros(4)

    cuts = begun_on([SUPERNET, taught], "fake/fake/fp32=4ms", 8.0)
    assert loop._on_best_supernets([cuts]) == [cuts]
    for cut in cuts:
        cut.feed_back(step(cut, 1, 3.9))
    assert (loop._better(cuts, losses).supernet is taught) is is_taken


def test_what_surely_fits_goes_before_what_is_better() -> None:
    taught = replace(supernet(lambda choice, _: 0.1 * float(sum(choice))), taught=True)
    cuts = begun_on([SUPERNET, taught], "fake/fake/fp32=4ms", 8.0)
    cuts[0].feed_back(step(cuts[0], 1, 3.9))
    cuts[1].feed_back(step(cuts[1], 1, 4.1))
    assert loop._better(cuts, pytest.fail) is cuts[0]
    cuts[0].rounds = [step(cuts[0], 1, 4.2)]
    assert loop._better(cuts, pytest.fail) is cuts[1]


def test_only_the_encoder_that_was_given_is_dense() -> None:
    taught = replace(SUPERNET, taught=True)
    assert SUPERNET.dense.is_dense
    assert not taught.dense.is_dense
    assert taught.dense.digest != SUPERNET.dense.digest

"""What the papers of the elastic recipes state, and what their files alone can get wrong."""

import numpy as np
import pytest
import torch

from deploy.architecture import uniform
from deploy.costs import macs, parameters
from deploy.encoder import Encoder
from deploy.workload import Workload
from devices.errors import UsageError
from elastic.elastic_encoder import ElasticEncoder
from elastic.recipes import ELASTIC
from elastic.recipes.cutonce import _relations_apart
from elastic.recipes.draws import SHARES, Draws
from elastic.recipes.dynabert import grid
from elastic.recipes.rosita import Shape, matched
from elastic.recipes.supernet import SupernetTraining, layers_of
from elastic.recipes.yoco import PHASES, Sizes, Training, normalised_entropy
from elastic.search.counted import CountedTable
from elastic.space import SearchSpace
from elastic.trunk import DENSE, Trunk
from elastic.views import Seen

BASE = uniform(12, 768, 12, 3072, labels=2)
CLASSIFIER = 2 * 768 + 2  # which the papers' counts leave out
WORKLOAD = Workload(1, 128)
SETTINGS = {"epochs": 0.1, "learning_rate": 1e-3, "batch_size": 32, "seed": 0}


# Hou et al. 2020, as computed from the formulas of its networks: millions of parameters, GFLOPs.
@pytest.mark.parametrize(
    ("width", "depth", "millions", "gflops"),
    [
        (1, 1, 109.5, 22.35), (1, 0.75, 88.2, 16.76), (1, 0.5, 67.0, 11.17),
        (0.75, 1, 88.2, 16.76), (0.75, 0.75, 72.3, 12.57), (0.75, 0.5, 56.3, 8.38),
        (0.5, 1, 67.0, 11.17), (0.5, 0.75, 56.3, 8.38), (0.5, 0.5, 45.7, 5.59),
        (0.25, 1, 45.7, 5.59), (0.25, 0.75, 40.4, 4.19), (0.25, 0.5, 35.1, 2.79),
    ],
)  # fmt: skip
def test_dynabert_has_the_papers_twelve_networks(width, depth, millions, gflops) -> None:
    networks = grid(layers_of(BASE, "dynabert"))
    assert len(networks) == 12
    small = BASE.with_operators(networks[f"width {width:g}, depth {depth:g}"])
    assert (parameters(small) - CLASSIFIER) / 1e6 == pytest.approx(millions, abs=0.05)
    assert 2 * macs(small, WORKLOAD) / 1e9 == pytest.approx(gflops, abs=0.006)


def test_dynabert_leaves_out_every_fourth_or_every_second_layer() -> None:
    networks = grid(layers_of(BASE, "dynabert"))

    def kept(name: str) -> list[int]:
        return [n for n, operator in enumerate(networks[name][::2]) if operator is not None]

    assert kept("width 1, depth 0.75") == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert kept("width 1, depth 0.5") == [0, 2, 4, 6, 8, 10]


# Zhang et al. 2021: 13 categories, 10^13 networks, 33.90 to 109.48 million parameters.
def test_yoco_has_the_papers_space() -> None:
    sizes = Sizes.of(layers_of(BASE, "yoco"))
    assert sizes.count == 8_978_450_780_160
    assert sizes.counts == [4, *[12] * 12]
    assert sizes.depths == (12, 10, 8, 6)
    assert {heads for heads, _ in sizes.pairs[0]} == {4, 8, 12}
    assert {width for _, width in sizes.pairs[0]} == {512, 768, 1024, 3072}
    for choice, millions in (((0,) * 13, 109.48), ((3, *[11] * 12), 33.90)):
        small = BASE.with_operators(sizes.chain(choice))
        assert (parameters(small) - CLASSIFIER) / 1e6 == pytest.approx(millions, abs=0.005)


def test_yoco_admits_heads_then_neurons_then_layers() -> None:
    sizes = Sizes.of(layers_of(BASE, "yoco"))
    counts = [[len(some) for some in sizes.admitted(*phase)[:2]] for phase in PHASES]
    assert counts == [[1, 2], [1, 3], [1, 6], [1, 9], [1, 12], [2, 12], [3, 12], [4, 12]]
    first = sizes.admitted(*PHASES[0])
    drawn = {sizes.chain((0, *some)) for some in zip(*[row * 6 for row in first[1:]], strict=False)}
    assert {chain[0].heads for chain in drawn} == {8, 12}
    assert {chain[1].width for chain in drawn} == {3072}


def test_yoco_tells_rows_that_are_sure_of_different_things() -> None:
    flat, sure = np.full(4, 0.25), np.array([1 - 3e-9, 1e-9, 1e-9, 1e-9])
    assert normalised_entropy([flat, flat]) == pytest.approx(1)
    assert normalised_entropy([sure, sure[::-1]]) == pytest.approx(0, abs=1e-6)


def test_yoco_tells_a_search_how_likely_every_choice_is(encoder) -> None:
    sizes = Sizes.of(layers_of(encoder.architecture, "yoco"))
    space = sizes.space(encoder)
    theta = [np.random.default_rng(0).dirichlet(np.ones(count)) for count in sizes.counts]
    likely = sizes.likely(space, theta)
    assert [len(row) for row in likely] == [len(some) for some in space.choices]
    assert [row.sum() for row in likely] == pytest.approx([1] * len(likely))
    assert likely[2][-1] == pytest.approx(theta[0][1])  # the second of two layers is left out


def test_yoco_keeps_what_it_learnt_at_checkpoints(encoder) -> None:
    sizes = Sizes.of(layers_of(encoder.architecture, "yoco"))
    first, again = (Training(ElasticEncoder(encoder), 16, sizes) for _ in range(2))
    first.learn([(0,) * len(sizes.counts), (1,) * len(sizes.counts)], [0.1, 0.9])
    assert first.theta.rows[0][0] > 0.5
    again.load_state_dict(first.state_dict())
    for mine, theirs in zip(again.theta.rows, first.theta.rows, strict=True):
        np.testing.assert_array_equal(mine, theirs)


# Liu et al. 2021: 2 heads, 8 layers, 512 neurons, rank 128; teacher states 0,1,3,4,6,7,9,10,12 of 12.
def test_rosita_has_the_papers_shape() -> None:
    dense = Shape.of(BASE)
    small = Shape.small(dense, 768)
    assert small == Shape(8, 2, 512, 128) == Shape.parse("L8-A2-F512-E128", dense)
    found = small.trunk(BASE).of(BASE).with_operators(small.chain(BASE))
    assert parameters(found) - CLASSIFIER == 14_473_216
    assert matched(8, 12) == [0, 1, 3, 4, 6, 7, 9, 10, 12]


def test_rosita_cuts_in_even_steps() -> None:
    shallow, small = Shape(8, 12, 3072, 0), Shape(8, 2, 512, 128)
    steps = [shallow.towards(small, done, 10, 768) for done in range(1, 11)]
    assert steps[0] == Shape(8, 11, 2816, 704)
    assert steps[-1] == small


@pytest.mark.parametrize("text", ["L8A2", "", "L0", "A13", "E769", "H4"])
def test_rosita_refuses_what_is_no_part(text) -> None:
    dense = Shape.of(BASE)
    with pytest.raises(UsageError, match=r"no shape|cannot be kept"):
        Shape.parse(text, dense).check(dense, 768)


def test_counted_shares_are_those_of_the_multiply_accumulates(encoder) -> None:
    space = SearchSpace.around(encoder.architecture, width_step=8)
    table, workload = CountedTable(space, 16), Workload(1, 16)
    rng = np.random.default_rng(0)
    choices = np.array([space.sample(rng) for _ in range(20)])
    bare = macs(encoder.architecture.with_operators([None] * 4), workload)
    whole = macs(encoder.architecture, workload) - bare
    wanted = [(macs(space.architecture(c), workload) - bare) / whole for c in choices]
    np.testing.assert_allclose(table.predict_many(choices)[1], wanted)
    assert table.upper(space.dense) == pytest.approx(1)
    units = sum(row[level] for row, level in zip(table.units, choices[0], strict=True))
    assert units <= table.budget_units(wanted[0])


def test_cutonce_draws_for_every_budget_what_keeps_it(encoder, batches) -> None:
    space = SearchSpace.around(encoder.architecture, width_step=8)
    training = SupernetTraining(ElasticEncoder(encoder), 16)
    trunks = (DENSE, Trunk(hidden=encoder.architecture.hidden // 2))
    drawn = Draws(space, trunks, batches, 16, 0)(training, encoder, 0)
    whole = CountedTable(space, 16).whole
    tables = [CountedTable(trunk.space(space), 16) for trunk in trunks]
    assert len(drawn) == len(SHARES)
    for some, share in zip(drawn, SHARES, strict=True):
        for place, table in enumerate(tables):
            own = {choice for number, choice in some if number == place}
            assert len(own) > 1
            assert all(table.upper(choice) * table.whole <= share * whole for choice in own)
    assert float(training.passes) > 0


def test_cutonce_relations_know_of_no_basis_and_no_padding() -> None:
    torch.manual_seed(0)
    heads = [torch.randn(2, 5, 16) for _ in range(3)]
    turn, _ = torch.linalg.qr(torch.randn(2, 2))
    turned = [(some.unflatten(-1, (8, 2)) @ turn).flatten(2) for some in heads]
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    seen, taught = (Seen((), tuple(some), torch.zeros(1)) for some in (turned, heads))
    assert float(_relations_apart(seen, taught, mask)) == pytest.approx(0, abs=1e-5)
    turned[0][1, 3:] = 100.0
    assert float(_relations_apart(seen, taught, mask)) == pytest.approx(0, abs=1e-5)
    turned[0][1, 0] += 1.0
    assert float(_relations_apart(seen, taught, mask)) > 0.001


@pytest.mark.parametrize("recipe", list(ELASTIC))
def test_a_head_at_chance_cannot_teach(recipe, make_encoder, task) -> None:
    strange = make_encoder(2)
    with torch.no_grad():
        strange.head.classifier.weight.zero_()
    with pytest.raises(UsageError, match=r"never trained on this task"):
        ELASTIC.get(recipe)(strange, task, **SETTINGS)


@pytest.mark.parametrize("recipe", list(ELASTIC))
def test_without_labels_there_is_nothing_to_train_on(recipe, make_encoder, make_task) -> None:
    with pytest.raises(UsageError, match=r"--label"):
        ELASTIC.get(recipe)(make_encoder(2), make_task(None), **SETTINGS)


@pytest.mark.parametrize("recipe", ["dynabert", "yoco", "rosita"])
def test_a_chain_that_is_not_of_layers_is_refused(recipe, encoder, task) -> None:
    odd = Encoder(encoder.architecture.with_operators(encoder.architecture.operators[:3]))
    with pytest.raises(UsageError, match=r"layers of an attention and a feed-forward"):
        ELASTIC.get(recipe)(odd, task, **SETTINGS)

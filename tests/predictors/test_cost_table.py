from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.architecture import Architecture, Attention, FeedForward
from deploy.workload import Workload
from predictors.cost_table import RESOLUTION, CostTable, shared_weights
from predictors.features import ADDITIVE, COLUMNS, TABLES, WEIGHTS, Features
from predictors.law import LatencyLaw
from predictors.model import Model
from predictors.trees import Trees
from predictors.utilisation import Utilisation

WORKLOAD = Workload(1, 64)
CHOICES = (
    (*(Attention(heads, 64) for heads in (4, 3, 2, 1)), None),
    (*(FeedForward(width) for width in (1024, 700, 512, 129)), None),
) * 3
BASE = Architecture(1000, 256, tuple(position[0] for position in CHOICES), labels=2)
SHARING = replace(BASE, shares=(0, 1, 0, 1, 4, 1))
CHOICE = st.tuples(*(st.integers(0, 4) for _ in CHOICES))


def make_table(
    seed: int = 0, cached: bool = True, factor: float = 1.0, base: Architecture = BASE
) -> CostTable:
    features = Features("fp32", 16)
    rng = np.random.default_rng(seed)
    coefficients = rng.uniform(0.01, 0.1, len(COLUMNS))
    coefficients[[WEIGHTS, TABLES]] = 0.0  # no causes of latency
    if not cached:
        coefficients[ADDITIVE:] = 0.0
    design = features.matrix([BASE] * 3, [Workload(1, n) for n in (32, 64, 128)])
    law = LatencyLaw(coefficients, design, 0.05, 0.9, factor=factor)
    rows = tuple(
        np.stack([features.operator(op, 256, WORKLOAD) for op in position]) for position in CHOICES
    )
    ends = np.sum(features.ends(base, WORKLOAD), axis=0)
    return CostTable(Model(features, law), ends, rows, shared_weights(base, CHOICES, rows))


def architecture(choice: tuple[int, ...], base: Architecture = BASE) -> Architecture:
    return base.with_operators(CHOICES[p][c] for p, c in enumerate(choice))


@given(choice=CHOICE, seed=st.integers(0, 20), factor=st.floats(0.01, 100))
@settings(max_examples=60, deadline=None)
def test_units_never_fall_below_the_additive_prediction(choice, seed: int, factor: float) -> None:
    table = make_table(seed, cached=False, factor=factor)
    units = table.base + sum(int(table.units[p][c]) for p, c in enumerate(choice))
    _, ms, _ = table.predict(choice)
    assert units * table.unit_ms >= ms * (1 - 1e-9)
    assert (units - len(choice) - 1) * table.unit_ms <= ms


@given(choice=CHOICE, seed=st.integers(0, 20), base=st.sampled_from([BASE, SHARING]))
@settings(max_examples=60, deadline=None)
def test_units_do_not_claim_more_than_the_law_where_weights_have_regimes(
    choice, seed: int, base: Architecture
) -> None:
    table = make_table(seed, base=base)
    units = table.base + sum(int(table.units[p][c]) for p, c in enumerate(choice))
    assert (units - len(choice) - 1) * table.unit_ms <= table.predict(choice)[1]
    assert units * table.unit_ms >= make_table(seed, cached=False, base=base).predict(choice)[1]


@given(choice=CHOICE, base=st.sampled_from([BASE, SHARING]))
@settings(max_examples=60, deadline=None)
def test_predict_is_the_full_law_with_regimes_and_interval(choice, base: Architecture) -> None:
    table = make_table(base=base)
    row = table.model.rows([architecture(choice, base)], [WORKLOAD])
    lower, ms, upper = (float(v[0]) for v in table.model.law.interval(row))
    assert table.predict(choice) == pytest.approx((lower, ms, upper))
    assert table.upper(choice) == pytest.approx(upper)
    assert lower < ms < upper


def test_many_choices_at_once_are_what_each_is_alone() -> None:
    table, rng = make_table(), np.random.default_rng(0)
    asked = rng.integers(0, 5, (9000, len(CHOICES)))
    found = np.stack(table.predict_many(asked))
    for row in (0, 4095, 4096, 8999):
        assert found[:, row] == pytest.approx(table.predict(asked[row]))
    assert np.stack(table.predict_many(asked[:0])).shape == (3, 0)


@given(choice=CHOICE)
@settings(max_examples=30, deadline=None)
def test_no_choice_that_fits_is_beyond_the_units_of_its_budget(choice) -> None:
    """Later stages may make an encoder faster than its sum, which the units are of."""
    table = make_table()
    slow, fast = Utilisation(np.array([0.1, 10.0]), np.array([1.1, 0.7])), 0.8
    trees = Trees(np.zeros((1, 3), int), np.zeros((1, 3)), np.log([[fast, 1.0, 1.0, 1.2]]))
    law = replace(table.model.law, utilisation=slow, trees=trees)
    table = replace(table, model=replace(table.model, law=law))
    least = sum(int(table.units[p][c]) for p, c in enumerate(choice)) - len(choice) - 1
    _, ms, _ = table.predict(choice)
    assert table.base + least <= table.budget_units(ms)


def test_shape_of_the_table() -> None:
    table = make_table()
    dense = table.base + sum(int(units[0]) for units in table.units)
    assert RESOLUTION <= dense <= RESOLUTION + len(CHOICES) + 1
    for units in table.units:
        assert units[-1] == 0
        assert (np.diff(units) < 0).all()


def test_budget_rounds_down() -> None:
    table = make_table()
    assert table.budget_units(3.7 * table.unit_ms) == 3
    assert table.budget_units(0.0) == 0

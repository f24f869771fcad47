import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.architecture import Architecture, Attention, FeedForward, uniform
from devices.errors import UsageError
from elastic.space import SearchSpace, chain_text, is_part, size_of

SPACE = SearchSpace.around(uniform(2, 64, 4, 256, vocabulary=100))

dense_encoders = st.lists(
    st.builds(Attention, st.integers(1, 12), st.just(8))
    | st.builds(FeedForward, st.integers(1, 4096)),
    max_size=6,
).map(lambda chain: Architecture(100, 64, tuple(chain)))


def sizes(space: SearchSpace) -> list[list[int]]:
    return [[size_of(operator) for operator in some] for some in space.choices]


def test_heads_go_one_by_one_and_widths_by_tiles() -> None:
    assert sizes(SPACE)[0] == [4, 3, 2, 1, 0]
    widths = sizes(SPACE)[1]
    assert widths[0] == 256
    assert widths[-1] == 0
    assert all(width % 32 == 0 for width in widths)


def test_bert_base_has_nine_widths_from_3072_to_a_sixteenth() -> None:
    widths = sizes(SearchSpace.around(uniform(1, 768, 12, 3072)))[1]
    assert widths == [3072, 2176, 1536, 1088, 768, 544, 384, 256, 192, 0]


@given(dense_encoders, st.integers(1, 128), st.integers(1, 12))
def test_every_position_starts_dense_falls_strictly_and_ends_dropped(dense, step, levels) -> None:
    space = SearchSpace.around(dense, width_step=step, width_levels=levels)
    assert space.architecture(space.dense) == dense
    for operator, some in zip(dense.operators, sizes(space), strict=True):
        assert some[-1] == 0
        assert all(larger > smaller for larger, smaller in itertools.pairwise(some))
        if isinstance(operator, FeedForward):
            assert len(some) <= levels + 1
            assert all(width % step == 0 for width in some[1:])


@given(dense_encoders, st.integers(0, 2**32 - 1))
def test_samples_are_sub_networks_and_json_brings_back_the_space(dense, seed) -> None:
    space = SearchSpace.around(dense)
    choice = space.sample(np.random.default_rng(seed))
    assert choice == space.sample(np.random.default_rng(seed))
    kept = [operator for operator in space.chain(choice) if operator is not None]
    assert space.architecture(choice).operators == tuple(kept)
    assert SearchSpace.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_size_counts_every_choice() -> None:
    small = SearchSpace.around(uniform(1, 64, 2, 64, vocabulary=10))
    everything = itertools.product(*(range(len(some)) for some in small.choices))
    assert small.size == len({small.chain(choice) for choice in everything})


def test_size_is_exact_where_floats_are_not() -> None:
    space = SearchSpace.around(uniform(24, 1024, 16, 4096))
    assert space.size == (17 * len(space.choices[1])) ** 24


@pytest.mark.parametrize("choice", [(0,), (0, 0, 0, 99), (0, 0, 0, -1)])
def test_a_choice_of_another_space_is_refused(choice) -> None:
    with pytest.raises(UsageError, match="one index per position"):
        SPACE.chain(choice)


@pytest.mark.parametrize("data", [{}, {"schema": 99}, {"schema": 1, "base": 3}, []])
def test_other_json_is_refused(data) -> None:
    with pytest.raises(UsageError):
        SearchSpace.from_json(data)


@pytest.mark.parametrize("settings", [{"width_step": 0}, {"width_levels": 0}])
def test_a_step_below_one_is_refused(settings) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        SearchSpace.around(SPACE.base, **settings)


def test_importing_needs_no_torch() -> None:
    modules = "elastic, elastic.search, elastic.space, elastic.families, elastic.importance"
    code = (
        f"import {modules}, elastic.recipes, elastic.families.bert, sys; "
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0


def test_chain_text() -> None:
    space = SearchSpace.around(uniform(2, 64, 4, 256, vocabulary=50))
    chain = space.chain((1, len(space.choices[1]) - 1, 0, 0))
    assert chain_text(chain, space.base) == ["A3", "-", "A4", "F256"]


def test_heads_may_be_smaller() -> None:
    space = SearchSpace.around(uniform(1, 64, 4, 256, vocabulary=50), head_sizes=(8, 16, 32))
    attention = space.choices[0]
    assert [op and (op.heads, op.head_dim) for op in attention[:5]] == [
        (4, 16), (3, 16), (4, 8), (2, 16), (3, 8),
    ]  # fmt: skip
    assert attention[-1] is None
    assert all(is_part(op, attention[0]) for op in attention)
    assert not is_part(attention[2], attention[1])
    assert chain_text(space.chain((2, 0)), space.base) == ["A4x8", "F256"]
    assert SearchSpace.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_heads_with_rotary_positions_keep_their_size() -> None:
    base = Architecture(50, 64, (Attention(4, 16, rotary=1e4),))
    space = SearchSpace.around(base, head_sizes=(8,))
    assert space == SearchSpace.around(base)
    assert not is_part(Attention(4, 8, rotary=1e4), base.operators[0])

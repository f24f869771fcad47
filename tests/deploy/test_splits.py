from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.splits import SEARCH_CAP, divide
from devices.errors import DataError

KEYS = st.lists(st.integers(0, 60), min_size=40, max_size=200).filter(lambda k: len(set(k)) >= 12)


@given(KEYS, st.integers(0, 5))
def test_every_row_is_on_one_side_with_its_equals(keys: list[int], seed: int) -> None:
    rows = divide(keys, seed)
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(keys)))
    sides = [{keys[row] for row in part} for part in rows.values()]
    assert sum(map(len, sides)) == len(set(keys))


@given(KEYS, st.integers(0, 5))
def test_rows_of_the_held_out_file_are_dropped(keys: list[int], seed: int) -> None:
    held_out = keys[:5]
    rows = divide(keys, seed, held_out)
    kept = [keys[row] for part in rows.values() for row in part]
    assert sorted(rows) == ["search", "train"]
    assert sorted(kept) == sorted(key for key in keys if key not in held_out)


def test_sizes_and_cap() -> None:
    assert {k: len(v) for k, v in divide(range(200), 0).items()} == {
        "report": 20,
        "search": 20,
        "train": 160,
    }
    assert len(divide(range(20_000), 0)["search"]) == SEARCH_CAP


def test_the_seed_decides() -> None:
    first, same, other = (divide(range(100), seed) for seed in (1, 1, 2))
    assert np.array_equal(first["search"], same["search"])
    assert not np.array_equal(first["search"], other["search"])


def test_too_few_texts() -> None:
    with pytest.raises(DataError, match="2 different texts are too few"):
        divide(["a", "b", "a", "a"], 0)

from __future__ import annotations

import pytest

from deploy.labels import name_labels, number_labels
from devices.errors import DataError, UnknownName


def test_numbers_sort_as_numbers_and_names_as_names() -> None:
    assert name_labels(["10", "9", "9"]) == ("9", "10")
    assert name_labels(["pos", "neg"]) == ("neg", "pos")


def test_one_label_is_no_task() -> None:
    with pytest.raises(DataError, match="'yes'"):
        name_labels(["yes", "yes"])


def test_values_map_by_name_or_else_by_number() -> None:
    assert number_labels(["b", "a"], ("a", "b")).tolist() == [1, 0]
    assert number_labels(["1", "0"], ("negative", "positive")).tolist() == [1, 0]
    # A name wins over a number: here "1" is the first output's name.
    assert number_labels(["1", "2"], ("1", "2")).tolist() == [0, 1]


@pytest.mark.parametrize("value", ["2", "entailed", "-1"])
def test_unknown_label(value: str) -> None:
    with pytest.raises(UnknownName, match=value):
        number_labels(["entailment", value], ("entailment", "not_entailment"))

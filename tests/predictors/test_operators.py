from __future__ import annotations

import pytest

from deploy.architecture import Architecture, uniform
from predictors.operators import COPIES, Interval, operator_table, plan_stacks

DENSE = uniform(4, 64, 4, 256, vocabulary=32, positions=16)


def priced(architecture: Architecture) -> Interval:
    """A law in which everything adds up: sizes in microseconds, projections 5 each."""
    prices = {
        "attention": 1.0,
        "feed_forward": 2.0,
        "separable_convolution": 3.0,
        "projection": 5.0,
    }
    ms = 0.5 + 0.25 * architecture.labels + sum(prices[op.kind] for op in architecture.operators)
    return ms, ms - 0.3, ms + 0.6


def test_every_kind_of_operator_is_timed_over_its_grid() -> None:
    names = [stack.name for stack in plan_stacks(DENSE)]
    assert names == [
        "embedding", "head", "A1", "A2", "A4", "F64", "F128", "F256", "G64", "G128", "G256",
        "C3", "C7", "P32 P64",
    ]  # fmt: skip


def test_the_table_finds_what_each_operator_costs_in_its_encoder() -> None:
    stacks = plan_stacks(DENSE)
    took = {a: priced(a) for stack in stacks for a in (stack.tall, stack.base) if a}
    rows = {row["operator"]: row for row in operator_table(stacks, took)}
    expected = {"embedding": 0.5, "head": 0.5, "A2": 1.0, "G128": 2.0, "C7": 3.0, "P32 P64": 10.0}
    for name, ms in expected.items():
        assert rows[name]["ms"] == pytest.approx(ms)
    low, high = rows["C3"]["interval"]
    assert (low, high) == (pytest.approx(3 - 0.9 / COPIES), pytest.approx(3 + 0.9 / COPIES))
    assert {row["hidden"] for row in rows.values()} == {64}


def test_what_was_not_measured_is_left_out() -> None:
    stacks = plan_stacks(DENSE)
    took = {stack.tall: priced(stack.tall) for stack in stacks if stack.name in ("embedding", "C3")}
    assert [row["operator"] for row in operator_table(stacks, took)] == ["embedding"]
    headless = DENSE.with_operators([None] * len(DENSE.operators))
    assert [stack.name for stack in plan_stacks(headless)] == [
        "embedding", "head", "C3", "C7", "P32 P64",
    ]  # fmt: skip

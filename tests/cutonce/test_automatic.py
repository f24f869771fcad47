"""Budgets that leave runtime and precision open, on the fake device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cutonce
from cutonce import searching
from cutonce.automatic import open_targets, parse_budgets
from cutonce.variants import Contest
from devices.errors import UsageError
from devices.target import Target
from elastic.families import load

PRECISIONS = ("fp32", "int8")


@pytest.fixture
def asked(
    small_task: dict[str, Any], put_profile: Callable[..., Path], tmp_path: Path
) -> dict[str, Any]:
    """With a store that has profiles around the model, of both precisions."""
    around = load(small_task["model"]).encoder.architecture
    for precision in PRECISIONS:
        store = tmp_path / "store.sqlite"
        put_profile(store, f"fake:3/fake/{precision}", encoders=14, around=around)
    return small_task | {
        "post_training": True,
        "visits": 9,
        "store": tmp_path / "store.sqlite",
        "out": tmp_path / "run",
    }


def test_auto_is_settled_once_and_then_searched_for(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = asked | {"budgets": ["fake:3/auto=0.7x"]}
    with monkeypatch.context() as patch:
        patch.setattr(searching, "search_flow", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cutonce.search(**wanted)
    monkeypatch.setattr(Contest, "hold", interrupted)
    result = cutonce.search(**wanted)
    settled, [entry] = result["automatic"]["fake:3/auto"], result["budgets"]
    rows = {row["target"]: row for row in settled["variants"]}
    assert {*rows} == {str(Target.parse(f"fake:3/fake/{precision}")) for precision in PRECISIONS}
    correct = [target for target, row in rows.items() if not row["out"]]
    fastest = min(correct, key=lambda target: rows[target]["latency"]["intrinsic"])
    assert entry["target"] == settled["target"] == fastest
    assert entry["status"] == "met"


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_auto_is_held_to_the_form_of_a_budget(asked: dict[str, Any]) -> None:
    for wrong in ("fake:3/auto", "fake:3/auto=4", "fake:3/auto@x=4ms"):
        with pytest.raises(UsageError):
            cutonce.search(**asked, budgets=[wrong])
    assert not asked["out"].exists()


def test_an_error_names_the_budget_as_it_was_given() -> None:
    with pytest.raises(UsageError, match="Budget 'local/auto=4' is not TARGET=4ms"):
        parse_budgets(["local/auto=4"], {"local/auto": "local/torch/fp32@2"})


def test_every_part_of_a_budget_may_be_open() -> None:
    texts = ["local/auto@1=4ms:p90, 20MB,fake:3/auto=0.5x", "fake:3/auto=0.5x", "fake:3/auto=0.5x"]
    assert open_targets(texts) == ["local/auto@1", "fake:3/auto"]
    names = {"local/auto@1": "local/openvino/int8@1", "fake:3/auto": "fake:3/fake/fp32"}
    first, second = parse_budgets(texts, names)
    assert first.text == "local/openvino/int8@1=4ms:p90,20MB,fake:3/fake/fp32=0.5x"
    assert second.text == "fake:3/fake/fp32=0.5x"

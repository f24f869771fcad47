from __future__ import annotations

import pickle

import pytest

from devices.errors import UnknownName
from devices.registry import Registry


def test_imports_when_asked_and_not_before() -> None:
    registry = Registry("thing", {"path": "pathlib:Path", "broken": "no_such_module:Thing"})
    assert list(registry) == ["path", "broken"]
    assert "path" in registry
    assert registry.get("path").__name__ == "Path"
    with pytest.raises(ImportError):
        registry.get("broken")


def test_unknown_name_survives_the_way_between_processes() -> None:
    error = UnknownName("thing", "paht", ["path"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"Unknown thing 'paht'. Did you mean 'path'\?"):
        Registry("thing", {"path": "pathlib:Path"}).get("paht")
    with pytest.raises(UnknownName, match="Known: none"):
        Registry("thing", {}).get("path")

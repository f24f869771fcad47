"""Every way to name an architecture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cutonce.configurations import read_configuration
from deploy.architecture import Attention, FeedForward, uniform
from devices.errors import ModelError, UsageError


def test_shape() -> None:
    architecture = read_configuration("L6-H384-A12-F1536")
    assert architecture.operators == (Attention(12, 32), FeedForward(1536)) * 6


def test_architecture_file(tmp_path: Path) -> None:
    known = uniform(2, 64, 2, 128)
    path = tmp_path / "architecture.json"
    path.write_text(json.dumps(known.to_json()))
    assert read_configuration(str(path)) == known


def test_model_directory_and_its_config(model: Path) -> None:
    architecture = read_configuration(str(model))
    assert architecture.operators == (Attention(4, 8), FeedForward(128)) * 2
    assert read_configuration(str(model / "config.json")) == architecture


def test_nothing_of_the_kind() -> None:
    with pytest.raises(UsageError, match="L6-H384-A12-F1536"):
        read_configuration("L6-H384")


def test_heads_that_do_not_divide() -> None:
    with pytest.raises(UsageError, match="not a multiple"):
        read_configuration("L6-H384-A7-F1536")


def test_another_family(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelError, match="gpt2"):
        read_configuration(str(tmp_path))

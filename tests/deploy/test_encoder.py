from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from deploy.architecture import Architecture
from deploy.encoder import Encoder
from devices.errors import ModelError


def test_saved_and_loaded_again(tmp_path: Path, encoder: Encoder) -> None:
    encoder.save_pretrained(tmp_path)
    again = Encoder.from_pretrained(tmp_path)
    ids = torch.arange(12).reshape(2, 6)
    assert torch.equal(again(ids), encoder(ids))
    assert again.label_names == ("bad", "good")
    assert not again.training


def test_padding_does_not_change_the_answer(encoder: Encoder) -> None:
    ids = torch.arange(1, 6)[None]
    padded = torch.cat([ids, torch.full((1, 4), 9)], dim=1)
    mask = (torch.arange(9) < 5).long()[None]
    assert torch.allclose(encoder(padded, mask), encoder(ids), atol=1e-6)


def test_no_head_gives_the_first_state(small: Architecture) -> None:
    headless = Encoder(Architecture(24, 32, small.operators, positions=32)).eval()
    ids = torch.arange(8).reshape(2, 4)
    assert torch.equal(headless(ids), headless.encode(ids)[:, 0])
    assert headless.label_names == ()


def test_damaged_directories(tmp_path: Path, encoder: Encoder) -> None:
    with pytest.raises(ModelError, match="does not hold a whole"):
        Encoder.from_pretrained(tmp_path)
    encoder.save_pretrained(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    whole = json.loads(config.read_text())
    config.write_text(
        json.dumps({**whole, "architecture": {**whole["architecture"], "hidden": 16}})
    )
    with pytest.raises(ModelError, match="whole cutonce encoder"):
        Encoder.from_pretrained(tmp_path)
    config.write_text(json.dumps(whole))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="damaged"):
        Encoder.from_pretrained(tmp_path)

"""Accuracy control, on an encoder that 8 bits do not carry everywhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.architecture import Architecture, Attention, FeedForward
from deploy.calibration import LEAST, random_batches
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.exporters.openvino_int8 import STRAY
from devices.device import open_device

pytest.importorskip("nncf")


def strayed(encoder: Encoder, directory: Path, texts: int) -> float:
    """How far int8's answers to what it is calibrated on are from the encoder's, as a share of their
    size."""
    a = encoder.architecture
    batches = random_batches(a.vocabulary, a.positions, texts, token_types=a.token_types)
    path = export_variant(encoder, "openvino", "int8", directory, batches).path
    with torch.inference_mode():
        wanted = [encoder(*map(torch.from_numpy, batch.values())).numpy() for batch in batches]
    got = [some[0] for some in open_device("local").run("openvino", path, "int8", 1, batches)]
    off, size = np.concatenate(got) - np.concatenate(wanted), np.concatenate(wanted)
    return float(np.linalg.norm(off) / np.linalg.norm(size))


def grown(factor: float) -> Encoder:
    """Small differences grow from layer to layer, the more the larger its weights are."""
    torch.manual_seed(0)
    layer = (Attention(4, 8), FeedForward(48))
    encoder = Encoder(Architecture(60, 32, layer * 2, positions=24, labels=3)).eval()
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight *= factor
    return encoder


def test_what_8_bits_do_not_carry_is_left_in_fp32(tmp_path: Path) -> None:
    # How much 8 bits carry hangs on the processor: those with VNNI need larger weights to fail.
    for factor in (3, 16):
        encoder, place = grown(factor), tmp_path / str(factor)
        export_variant(encoder, "openvino", "fp32", place / "plain")
        shutil.copytree(place / "plain", place / "controlled")  # what both start from
        if strayed(encoder, place / "plain", LEAST - 1) > 1.3 * STRAY:
            break
    else:
        pytest.fail("8 bits carry all of these encoders")
    assert strayed(encoder, place / "controlled", LEAST) < 1.1 * STRAY

"""A foreign architecture, where CUTONCE_EMULATED is what examples/emulated_device.py made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from deploy.architecture import uniform
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.parity import check_parity
from devices.errors import UsageError
from devices.qemu import QemuDevice
from devices.target import Target

PLACE = os.environ.get("CUTONCE_EMULATED")


def facts(place: str) -> dict[str, str]:
    return {
        "emulator": f"{place}/qemu/usr/bin/qemu-aarch64",
        "cpu": "cortex-a53",
        "root": f"{place}/root",
        "python": "usr/bin/python3.11",
        "packages": f"{place}/packages",
    }


@pytest.mark.skipif(not PLACE, reason="CUTONCE_EMULATED names no emulated device")
def test_it_answers_as_the_encoder_does(tmp_path: Path) -> None:
    device = QemuDevice("a53", facts(str(PLACE)))
    assert "cortex-a53, emulated by qemu-aarch64" in device.fingerprint().cpu
    assert "asimddp" not in device.fingerprint().flags  # a cortex-a53 has none
    torch.manual_seed(0)
    encoder = Encoder(uniform(1, 16, 2, 32, vocabulary=20, positions=16, labels=2)).eval()
    exported = export_variant(encoder, "onnxruntime", "fp32", tmp_path)
    target = Target("qemu:a53", "onnxruntime", "fp32", 1)
    assert target.emulated
    check_parity(encoder, device, target, exported).require()


def test_one_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"one of them is missing.*emulated_device"):
        QemuDevice("a53", facts(str(tmp_path)))

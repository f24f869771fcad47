"""What `cutonce demo` does before it begins; all of it takes minutes: see benchmarks/demo.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from cutonce.commands.demo import demo
from devices.errors import UnknownName


def test_a_device_that_is_not_there_is_said_before_anything_is_done(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    with pytest.raises(UnknownName, match="nowhere"):
        demo(device="nowhere", out=out)
    assert not out.exists()

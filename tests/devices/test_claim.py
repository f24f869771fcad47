"""One campaign at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.claim import claim


def test_a_machine_is_claimed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    held, holder = claim("process 1")
    assert held is not None
    assert holder is None
    assert claim("process 2") == (None, "process 1")
    assert claim("process 1") == (None, None)
    held.close()
    again, holder = claim("process 2")
    assert again is not None
    assert holder is None
    assert claim("process 1") == (None, "process 2")
    again.close()

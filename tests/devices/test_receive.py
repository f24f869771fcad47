"""The other end of a transfer."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devices import receive

DATA = bytes(range(256)) * 40
DIGEST = hashlib.sha256(DATA).hexdigest()
REQUEST = {"key": "k", "files": [{"name": "model.onnx", "size": len(DATA), "sha256": DIGEST}]}


def transfer(cache: Path, data: bytes, limit: int | None = None) -> list[dict[str, Any]]:
    """What the program answers that is told the request and ``data``."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, receive.__file__],
        input=json.dumps(REQUEST).encode() + b"\n" + data,
        capture_output=True,
        check=True,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        preexec_fn=limited,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_file_arrives_whole(tmp_path: Path) -> None:
    first, last = transfer(tmp_path, DATA)
    assert (Path(last["place"]) / "model.onnx").read_bytes() == DATA
    assert first["have"] == [0]
    assert transfer(tmp_path, b"")[0]["have"] == [len(DATA)]


def test_what_was_cut_off_goes_on(tmp_path: Path) -> None:
    assert len(transfer(tmp_path, DATA[:5000])) == 1
    first, last = transfer(tmp_path, DATA[5000:])
    assert first["have"] == [5000]
    assert (Path(last["place"]) / "model.onnx").read_bytes() == DATA


def test_damage_is_told_and_sent_anew(tmp_path: Path) -> None:
    assert "arrived damaged" in transfer(tmp_path, DATA[::-1])[-1]["error"]
    assert transfer(tmp_path, DATA)[0]["have"] == [0]


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    assert "File too large" in transfer(tmp_path, DATA, limit=3000)[-1]["error"]


def test_an_old_python_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(receive, "OLDEST", (99, 1))
    receive.main()
    assert "99.1 is the oldest" in json.loads(capsys.readouterr().out)["error"]


def test_what_was_not_used_for_longest_makes_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for age, name in enumerate(("new", "old", "oldest")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(bytes(100))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    monkeypatch.setattr(receive, "KEPT_BYTES", 250)
    (tmp_path / "now").mkdir()
    receive.make_room(tmp_path / "now", 100)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["new", "now"]

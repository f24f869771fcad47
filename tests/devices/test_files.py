from __future__ import annotations

import json
from pathlib import Path

import pytest

from devices.files import whole_directory, write_json, write_text


def test_a_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "file.json"
    write_json(path, {"a": "ä"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "ä"}
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half \ud800")
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "ä"}
    assert list(path.parent.iterdir()) == [path]


def test_a_directory_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "made"
    for text in ("one", "two"):
        with whole_directory(path) as place:
            (place / "file").write_text(text)
    with pytest.raises(ZeroDivisionError), whole_directory(path) as place:
        (place / "file").write_text(str(1 // 0))
    assert (path / "file").read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]

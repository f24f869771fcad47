"""The devices that the user added."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.device import open_device
from devices.errors import StoreError, UnknownName, UsageError
from devices.known import known_device, known_devices, known_path, remember_device


@pytest.fixture(autouse=True)
def _own_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_they_are_remembered() -> None:
    assert known_devices() == {}
    remember_device("ssh", "pi4", {"host": "pi@192.0.2.7"})
    remember_device("ssh", "pi5", {"host": "pi@192.0.2.8"})
    remember_device("ssh", "pi4", {"host": "pi@192.0.2.9"})
    assert known_device("ssh", "pi4") == {"host": "pi@192.0.2.9"}
    assert list(known_devices()["ssh"]) == ["pi4", "pi5"]
    assert known_device("ssh", "pi6") == {}


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-x", "a@1"])
def test_a_name_that_a_target_could_not_hold_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no name for a device"):
        remember_device("ssh", name, {})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 9}'])
def test_a_file_that_cannot_be_read_is_named(text: str) -> None:
    known_path().parent.mkdir(parents=True)
    known_path().write_text(text)
    with pytest.raises(StoreError, match=r"devices\.json"):
        known_devices()


def test_an_emulated_device_has_to_be_made_first() -> None:
    remember_device("qemu", "a53", {})
    with pytest.raises(UnknownName, match="Did you mean 'a53'"):
        open_device("qemu:a35")

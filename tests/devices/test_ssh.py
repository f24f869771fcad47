"""Another machine over SSH, against a real server on loopback."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from devices import ssh
from devices.errors import DeviceError, Unreachable, UsageError
from devices.ssh import SshDevice
from tests.sshd import Sshd


def test_what_is_there_is_not_sent_again(sshd: Sshd, tmp_path: Path) -> None:  # noqa: ARG001
    path = tmp_path / "odd 'name'; $(touch pwned).bin"
    path.write_bytes(b"weights")
    device = SshDevice("board")
    there = Path(device.put(path))
    assert there.read_bytes() == b"weights"
    came = there.stat().st_mtime_ns
    assert device.put(path) == str(there)
    assert there.stat().st_mtime_ns == came
    path.write_bytes(b"others")
    assert Path(device.put(path)).read_bytes() == b"others"


def test_siblings_travel_along(sshd: Sshd, tmp_path: Path) -> None:  # noqa: ARG001
    for name in ("model.xml", "model.bin", "model_int8.xml"):
        (tmp_path / name).write_text(name)
    there = Path(SshDevice("board").put(tmp_path / "model.xml"))
    assert sorted(path.name for path in there.parent.glob("model*")) == ["model.bin", "model.xml"]


@pytest.mark.parametrize(
    "host",
    ["-oProxyCommand=touch pwned", "board; touch pwned", "$(touch pwned)", "bo ard", "", "`id`"],
)
def test_a_host_that_could_be_a_command_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="no host for SSH"):
        SshDevice("x", {"host": host})


def test_a_python_that_could_be_a_command_is_quoted(sshd: Sshd, tmp_path: Path) -> None:  # noqa: ARG001
    pwned = tmp_path / "pwned"
    device = SshDevice("x", {"host": "board", "python": f"/no/python; touch {pwned}"})
    with pytest.raises(DeviceError, match="has no /no/python; touch"):
        _ = device.look
    assert not pwned.exists()


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("no-such-host.invalid", "Check the name"),
        ("other-user", "Check user and key"),
        ("127.0.0.1", "."),
    ],
)
def test_who_cannot_be_reached_is_told_why(sshd: Sshd, host: str, words: str) -> None:  # noqa: ARG001
    with pytest.raises(Unreachable, match=words):
        _ = SshDevice("x", {"host": host}).look


def test_a_host_key_that_is_not_known_is_refused(sshd: Sshd) -> None:
    known, told = sshd.place / "known_hosts", (sshd.place / "known_hosts").read_text()
    ssh._options.cache_clear()  # or the connection that is there would serve
    device = SshDevice("x", {"host": "board"})
    try:
        known.write_text("")
        with pytest.raises(Unreachable, match="by hand"):
            _ = device.look
        other = sshd.place / "other_key"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True
        )
        sshd.know(other.with_suffix(".pub").read_text())
        with pytest.raises(Unreachable, match="not the one that was known"):
            _ = device.look
    finally:
        known.write_text(told)


def test_a_shell_that_prints_is_told(sshd: Sshd, tmp_path: Path) -> None:  # noqa: ARG001
    noisy = tmp_path / "python"
    noisy.write_text("#!/bin/sh\necho Welcome to this board\n")
    noisy.chmod(0o755)
    with pytest.raises(DeviceError, match="Welcome to this board"):
        _ = SshDevice("x", {"host": "board", "python": str(noisy)}).look

"""A fleet over SSH, on a real server at loopback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from devices import cluster
from devices.device import open_device
from devices.errors import Unreachable, UsageError
from devices.fleet import FleetDevice
from devices.ssh_cluster import Host, read_hosts, start
from tests.sshd import Sshd


def test_hosts_are_read(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# ours\npi@192.0.2.7 pi4\n\nbigbox  # strong\n")
    assert read_hosts(path) == [Host("192.0.2.7", "pi", "pi4"), Host("bigbox")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# none\n", "names no host"),
        ("a x\nb x\n", "names a device twice"),
        ("a x y\n", "a device behind it or none"),
        ("a $(reboot)\n", "no name for a device"),
    ],
)
def test_what_is_no_file_of_hosts_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_hosts(path)


@pytest.mark.usefixtures("ssh_home")
def test_a_fleet_offers_its_devices() -> None:
    with start([Host("board", device="one"), Host("board")], sys.executable) as running:
        address = running.scheduler_address
        device = FleetDevice("one", {"scheduler": address, "resource": "one"})
        assert device.fingerprint() == open_device("local").fingerprint()
        client = cluster.connect(address)
        assert len(cluster.workers(client, lambda facts: not facts["resources"])) == 1
        cluster.disconnect(address)


def test_a_host_that_does_not_serve_is_told(ssh_home: Path) -> None:
    with pytest.raises(Unreachable, match="did not start"):
        start([Host("board")], f"/no/python; touch {ssh_home}/reached")
    assert not (ssh_home / "reached").exists()


@pytest.mark.usefixtures("ssh_home")
def test_a_changed_host_key_is_refused(sshd: Sshd) -> None:
    known = (sshd.place / "known_hosts").read_text()
    sshd.know((sshd.place / "user_key.pub").read_text())
    try:
        with pytest.raises(Unreachable, match="Host key"):
            start([Host("board")], sys.executable)
    finally:
        (sshd.place / "known_hosts").write_text(known)

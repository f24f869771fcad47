"""`cutonce fleet` as a real process, over a real SSH server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cutonce.cli import main
from devices.fleet import FleetDevice
from devices.known import known_device


def test_a_fleet_runs_until_it_is_interrupted(
    ssh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(ssh_home / "configuration"))
    hosts, out = ssh_home / "hosts", ssh_home / "fleet.json"
    hosts.write_text("board one  # measures\nboard      # evaluates\n")
    command = [sys.executable, "-m", "cutonce.cli", "fleet", str(hosts), "--python", sys.executable]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [*command, "--out", str(out)], stderr=subprocess.PIPE, text=True
    ) as fleet:
        signal.signal(signal.SIGINT, before)
        while not out.exists():
            assert fleet.poll() is None, fleet.stderr and fleet.stderr.read()
            time.sleep(0.05)
        said = json.loads(out.read_text())
        assert (said["devices"], said["free"]) == (["one"], 1)
        known = known_device("fleet", "one")
        assert known == {"scheduler": said["scheduler"], "resource": "one"}
        assert FleetDevice("one").physical_cores() > 0
        fleet.send_signal(signal.SIGINT)
        assert fleet.wait(30) == 130


def test_a_file_of_hosts_that_is_none_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", str(tmp_path / "hosts")]) == 1
    assert "hosts" in capsys.readouterr().err

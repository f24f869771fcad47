"""The parent's end of an agent, at its worst."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from devices.errors import AgentDied, DeviceError
from devices.local import LocalDevice
from devices.process import ChildProcess
from profiler.client import AgentClient

_ANSWERS = """
import json, sys
for line in sys.stdin:
    do = json.loads(line)["do"]
    if do == "hang":
        while True:
            pass
    if do == "die":
        sys.exit("out of memory, say")
    print(json.dumps({"error": "no"} if do == "refuse" else {"well": 1}), flush=True)
"""


class Device(LocalDevice):
    def start(self, _archive: Path) -> ChildProcess:
        return ChildProcess([sys.executable, "-c", _ANSWERS], self._environment())


@pytest.fixture
def client() -> AgentClient:
    return AgentClient(Device(), Path("unused"))


def test_it_asks_and_hears(client: AgentClient) -> None:
    with client:
        assert client.ask("anything") == {"well": 1}
        with pytest.raises(DeviceError, match="On local: no"):
            client.ask("refuse")
        assert client.ask("anything") == {"well": 1}


def test_an_agent_that_hangs_is_ended(client: AgentClient) -> None:
    with client, pytest.raises(AgentDied, match="'hang' took more than 0 s"):
        client.ask("hang", patience=0.2)
    assert client._process.poll() is not None


def test_an_agent_that_dies_is_quoted(client: AgentClient) -> None:
    with client, pytest.raises(AgentDied, match="out of memory, say"):
        client.ask("die")


def test_leaving_ends_it(client: AgentClient) -> None:
    with client:
        pass
    assert client._process.poll() == 0
    assert isinstance(client._process, subprocess.Popen)

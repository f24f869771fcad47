"""What every test process begins with."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices import cluster
from devices.device import open_device
from devices.known import remember_device
from tests.cluster import SEEDS, start_cluster
from tests.sshd import SSHD, Sshd

# Two test processes share the cores, each with processes of its own; nothing here is large enough for a
# second thread to pay, and threads that wait for each other spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What is trained is the same on every machine.
os.environ.setdefault("ACCELERATE_MIXED_PRECISION", "no")


@pytest.fixture(autouse=True, scope="session")
def _own_places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's devices stay out of the tests, and these out of theirs. Test processes that run side by
    side do not wait for each other's campaigns."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp("places")))
        yield


@pytest.fixture(autouse=True, scope="module")
def _little_to_collect() -> None:
    """Every training collects garbage, which takes half a second where it looks through all that was
    imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """The device ``ssh:board`` is this machine, through a real SSH server."""
    if not SSHD:
        pytest.skip("no SSH server is installed")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # what sshd wants of root
    place = tmp_path_factory.mktemp("sshd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{place}/bin:{os.environ['PATH']}")
        remember_device("ssh", "board", {"host": "board", "python": sys.executable})
        server = Sshd(place)
        yield server
        server.stop()


@pytest.fixture
def ssh_home(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where asyncssh, which a fleet's engine connects by, looks for its configuration."""
    pytest.importorskip("asyncssh")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text((sshd.place / "config").read_text())
    return tmp_path


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a cluster whose workers offer the devices ``fleet:one`` and ``fleet:two``.

    It ends with the module: its threads ask for the time and the processes all along, which other tests
    put their own in place of."""
    pytest.importorskip("distributed")
    open_device.cache_clear()  # what knows an earlier cluster
    with start_cluster(SEEDS) as running:
        address = running.scheduler_address
        for name in SEEDS:
            remember_device("fleet", name, {"scheduler": address, "resource": name})
        yield address
        cluster.disconnect(address)

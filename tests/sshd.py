"""A real SSH server, for tests."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


def _free_port() -> int:
    """One that no connection takes for its own end, while the server is stopped."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as free:
            if free.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no port is free")


class Sshd:
    """A real SSH server on loopback, with throw-away keys, and the client's configuration for it.

    Attributes:
        place: directory of its files: known_hosts, user_key, config.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        for key in ("host_key", "user_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / key)]
            subprocess.run(command, check=True)
        self.port = _free_port()
        (place / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {place}/host_key\n"
            f"AuthorizedKeysFile {place}/user_key.pub\nPidFile none\nPasswordAuthentication no\n"
            f"UsePAM no\nStrictModes no\nSetEnv XDG_CACHE_HOME={place}/cache\n"
        )
        self.know((place / "host_key.pub").read_text())
        # The client reads its configuration from the home that the system knows: not from $HOME.
        (place / "config").write_text(
            f"Host board other-user\nHostName 127.0.0.1\nPort {self.port}\nIdentitiesOnly yes\n"
            f"IdentityFile {place}/user_key\nUserKnownHostsFile {place}/known_hosts\n"
            f"Host other-user\nUser nobody-of-this-name\n"
        )
        (place / "bin").mkdir()
        shim = place / "bin" / "ssh"
        shim.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {place}/config "$@"\n')
        shim.chmod(0o755)
        self.start()

    def know(self, key: str) -> None:
        """Make ``key`` the one that the client expects."""
        kind, text = key.split()[:2]
        (self.place / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {kind} {text}\n")

    def start(self) -> None:
        config, log = str(self.place / "sshd_config"), self.place / "sshd_log"
        log.write_text("")
        self._process = subprocess.Popen([str(SSHD), "-D", "-f", config, "-E", str(log)])
        while "Server listening" not in log.read_text():
            assert not self.stopped, log.read_text()
            time.sleep(0.01)

    def cut(self) -> None:
        """End every connection, at once."""
        for child in psutil.Process(self._process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if child.name().startswith("sshd"):
                    child.kill()

    def stop(self) -> None:
        self.cut()
        self._process.kill()
        self._process.wait()

    @property
    def stopped(self) -> bool:
        return self._process.poll() is not None

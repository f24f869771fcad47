"""Start a fleet on the machines that a file names, over SSH, and keep it until interrupted.

A line of the file is a host, as USER@HOST or as ~/.ssh/config calls it, and behind it the name of the
device that it is to be: that is remembered as fleet:NAME. A host without a name evaluates the networks of
`cutonce search --fleet SCHEDULER`. Every host needs cutonce[fleet]; nothing is installed there. Ctrl-C
ends the fleet.
"""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import Any

from cutonce.console import progress, talk
from cutonce.options import add_out, keep
from devices.known import remember_device


def fleet(
    hosts: str | Path,
    *,
    python: str = "python3",
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Run a fleet until interrupted.

    Args:
        hosts: the file that names the machines.
        python: the command or path of Python on every one of them.
        out: write the scheduler's address and the devices there, as JSON, when all are up.

    Raises:
        UsageError: the file names no machine, or what is no name.
        Unreachable: a machine cannot be reached, or nothing starts there.
    """
    from devices.ssh_cluster import read_hosts, start

    machines = read_hosts(Path(hosts))
    with progress("starting"):
        running = start(machines, python)
    with running:
        scheduler = running.scheduler_address
        devices = [machine.device for machine in machines if machine.device]
        for name in devices:
            remember_device("fleet", name, {"scheduler": scheduler, "resource": name})
        free = len(machines) - len(devices)
        result = keep(out, {"scheduler": scheduler, "devices": devices, "free": free})
        named = ", ".join(f"fleet:{name}" for name in devices) or "no device"
        talk(f"{scheduler}: {named}, and {free} free to evaluate networks; Ctrl-C ends it.")
        threading.Event().wait()
    return result


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("hosts", metavar="HOSTS", help="file of a host a line, and its device")
    parser.add_argument(
        "--python", default="python3", help="there, a command or a path (default python3)"
    )
    add_out(parser)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    return fleet(args.hosts, python=args.python, out=args.out), 0


def show(_result: dict[str, Any]) -> None:
    """Nothing: all was said while it ran."""

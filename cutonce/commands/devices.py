"""Show what can run here: devices, runtimes and precisions, what is missing and how to get it.

`cutonce devices add NAME --ssh [USER@]HOST` looks at another machine over SSH and remembers it as
ssh:NAME; it installs nothing there. With --fleet tcp://SCHEDULER:PORT it is what a worker of
dask.distributed offers as the resource NAME, and is remembered as fleet:NAME. `cutonce devices check`
says what makes this machine noisy, and what to do about it. It changes nothing, and exits 3 where
something disturbs measurements.
"""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from typing import Any

from cutonce.console import show as say
from cutonce.console import show_table
from cutonce.options import add_out, keep
from devices.device import Device, open_device
from devices.errors import UsageError
from devices.fleet import FleetDevice
from devices.known import known_devices, remember_device
from devices.runtimes import RUNTIMES
from devices.ssh import SshDevice

FAR_OFF = 60.0  # seconds that two clocks may differ before certificates and dates go wrong


def devices(
    action: str = "show",
    name: str | None = None,
    *,
    ssh: str | None = None,
    python: str = "python3",
    fleet: str | None = None,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """The devices that can be reached, what each is, and what runs on it.

    Args:
        action: ``show``; ``add`` for a machine that is not this one; ``check`` for what disturbs
            measurements on this one.
        name: that the added machine is to be called by. ssh: its host, as ssh takes it. python: the
            command or path of its Python. fleet: in place of ssh, the address of the scheduler.
        out: write the result there too, as JSON.

    Raises:
        UsageError: ``add`` without a name and one way to it, or these without ``add``.
        DeviceError: the machine cannot be reached, or has no Python that serves.
    """
    ways = {kind: way for kind, way in (("ssh", ssh), ("fleet", fleet)) if way is not None}
    if (action == "add") != (name is not None and len(ways) == 1) or (action != "add" and ways):
        raise UsageError(
            "A device is added by `cutonce devices add NAME --ssh [USER@]HOST`, or --fleet SCHEDULER."
        )
    if action == "check":
        from profiler.noise import find_noise

        noise = find_noise(open_device("local").fingerprint())
        return keep(out, {"noise": [finding.to_json() for finding in noise]})
    if name is not None and ssh is not None:
        return keep(out, {"devices": {f"ssh:{name}": _add(name, ssh, python)}})
    if name is not None and fleet is not None:
        facts = {"scheduler": fleet, "resource": name}
        told = _told(FleetDevice(name, facts))
        remember_device("fleet", name, facts)
        return keep(out, {"devices": {f"fleet:{name}": told}})
    return keep(out, {"devices": {name: _told(open_device(name)) for name in ("local", "fake")},
                      "known": known_devices()})  # fmt: skip


def _add(name: str, host: str, python: str) -> dict[str, Any]:
    """Look at a machine and remember it."""
    facts = {"host": host, "python": python}
    device = SshDevice(name, facts)
    look = device.look
    remember_device("ssh", name, facts)
    pip = f"ssh {host} {shlex.quote(python)} -m pip install"
    told = _told(device)
    for runtime, state in told["runtimes"].items():
        if not state["version"]:
            state["install"] = f"{pip} {RUNTIMES.get(runtime).packages[0]}"
    return {
        **told,
        "python": look.python,
        "clock_off": look.clock - time.time(),
        "install": None if look.numpy else f"{pip} numpy onnxruntime",
    }


def _told(device: Device) -> dict[str, Any]:
    found = device.fingerprint()
    return {
        "fingerprint": found.to_json(),
        "id": found.id,
        "threads": device.physical_cores(),
        "runtimes": {
            runtime: {
                "version": version,
                "precisions": list(RUNTIMES.get(runtime).precisions),
                "install": None if version else RUNTIMES.get(runtime).install,
            }
            for runtime, version in device.runtimes().items()
        },
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        default="show",
        choices=("show", "add", "check"),
        help="show what can run here, add a machine, or check what makes this one noisy (default show)",
    )
    parser.add_argument("name", nargs="?", help="of the machine to add, in ssh:NAME or fleet:NAME")
    parser.add_argument("--ssh", metavar="[USER@]HOST", help="the machine to add, as ssh takes it")
    parser.add_argument(
        "--python", default="python3", help="its Python, a command or a path (default python3)"
    )
    parser.add_argument(
        "--fleet", metavar="SCHEDULER", help="the scheduler of the fleet that the machine is of"
    )
    add_out(parser)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = devices(
        args.action, args.name, ssh=args.ssh, python=args.python, fleet=args.fleet, out=args.out
    )
    noisy = any(finding["noisy"] for finding in result.get("noise", ()))
    return result, 3 if noisy else 0


def show(result: dict[str, Any]) -> None:
    if "noise" in result:
        _show_noise(result["noise"])
        return
    rows = []
    for name, device in result["devices"].items():
        for runtime, state in device["runtimes"].items():
            targets = ", ".join(
                f"{name}/{runtime}/{precision}" for precision in state["precisions"]
            )
            rows.append(
                (name, runtime, state["version"] or f"missing: {state['install']}", targets)
            )
    show_table("What can run", ("device", "runtime", "version", "targets"), rows)
    for name, device in result["devices"].items():
        _show_device(name, device)
    for kind, names in result.get("known", {}).items():
        for name, facts in names.items():
            say(f"{kind}:{name} was added: {', '.join(f'{k} {v}' for k, v in facts.items())}")


def _show_device(name: str, device: dict[str, Any]) -> None:
    facts = device["fingerprint"]
    if name == "fake":
        return
    say(
        f"{name}: {facts['cpu']}, {facts['cores']} cores, {facts['memory_bytes'] / 2**30:.0f} GB, "
        f"clock policy {facts['clock_policy']}, hypervisor {facts['hypervisor']}"
    )
    if abs(device.get("clock_off", 0.0)) > FAR_OFF:
        say(
            f"{name}: its clock is {device['clock_off']:+.0f} s off. Measurements do not go by it; "
            "downloads there may fail."
        )
    if device.get("install"):
        say(f"{name}: nothing can be measured there yet; install: {device['install']}")


def _show_noise(noise: list[dict[str, Any]]) -> None:
    rows = [
        (finding["name"], finding["state"], "noisy" if finding["noisy"] else "fine")
        for finding in noise
    ]
    show_table("What disturbs measurements here", ("property", "state", "verdict"), rows)
    for finding in noise:
        if finding["advice"]:
            say(f"{finding['name']}: {finding['advice']}")

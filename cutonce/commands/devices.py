"""Show what can run here: devices, runtimes and precisions, what is missing and how to get it.

`cutonce devices check` says what makes this machine noisy, and what to do about it. It changes nothing,
and exits 3 where something disturbs measurements.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cutonce.console import show as say
from cutonce.console import show_table
from cutonce.options import add_out, keep
from devices.device import open_device
from devices.runtimes import RUNTIMES


def devices(action: str = "show", *, out: Path | None = None) -> dict[str, Any]:
    """The devices that can be reached, what each is, and what runs on it.

    Args:
        action: ``show``, or ``check`` for what disturbs measurements on this machine.
        out: write the result there too, as JSON.
    """
    if action == "check":
        from profiler.noise import find_noise

        noise = find_noise(open_device("local").fingerprint())
        return keep(out, {"noise": [finding.to_json() for finding in noise]})
    found = {}
    for name in ("local", "fake"):
        device = open_device(name)
        found[name] = {
            "fingerprint": device.fingerprint().to_json(),
            "id": device.fingerprint().id,
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
    return keep(out, {"devices": found})


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        default="show",
        choices=("show", "check"),
        help="show what can run here, or check what makes this machine noisy (default show)",
    )
    add_out(parser)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    result = devices(args.action, out=args.out)
    noisy = any(finding["noisy"] for finding in result.get("noise", ()))
    return result, 3 if noisy else 0


def _show_noise(noise: list[dict[str, Any]]) -> None:
    rows = [
        (finding["name"], finding["state"], "noisy" if finding["noisy"] else "fine")
        for finding in noise
    ]
    show_table("What disturbs measurements here", ("property", "state", "verdict"), rows)
    for finding in noise:
        if finding["advice"]:
            say(f"{finding['name']}: {finding['advice']}")


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
    show_table("What can run here", ("device", "runtime", "version", "targets"), rows)
    facts = result["devices"]["local"]["fingerprint"]
    say(
        f"local: {facts['cpu']}, {facts['cores']} cores, {facts['memory_bytes'] / 2**30:.0f} GB, "
        f"clock policy {facts['clock_policy']}, hypervisor {facts['hypervisor']}"
    )

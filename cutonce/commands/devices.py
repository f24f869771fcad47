"""Show what can run here: devices, runtimes and precisions, what is missing and how to get it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cutonce.console import show as say
from cutonce.console import show_table
from cutonce.options import add_out, keep
from devices.device import open_device
from devices.runtimes import PRECISIONS, RUNTIMES


def devices(*, out: Path | None = None) -> dict[str, Any]:
    """The devices that can be reached, what each is, and what runs on it.

    Args:
        out: write the result there too, as JSON.
    """
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
                    "precisions": list(PRECISIONS[runtime]),
                    "install": None if version else RUNTIMES.get(runtime).install,
                }
                for runtime, version in device.runtimes().items()
            },
        }
    return keep(out, {"devices": found})


def arguments(parser: argparse.ArgumentParser) -> None:
    add_out(parser)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    return devices(out=args.out), 0


def show(result: dict[str, Any]) -> None:
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

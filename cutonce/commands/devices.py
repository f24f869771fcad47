"""Show what can run here: devices, runtimes and precisions, what is missing and how to get it."""

from __future__ import annotations

import argparse
from typing import Any

from cutonce.console import show as say
from cutonce.console import show_table
from devices.device import open_device
from devices.runtimes import PRECISIONS, RUNTIMES

_PIP = {
    "torch": 'pip install "torch>=2.11,<2.14" --index-url https://download.pytorch.org/whl/cpu',
    "onnxruntime": "pip install onnxruntime",
    "openvino": 'pip install "cutonce[openvino]"',
}


def devices() -> dict[str, Any]:
    """The devices that can be reached, what each is, and what runs on it."""
    found = {}
    for name in ("local", "fake"):
        device = open_device(name)
        installed = device.runtimes()
        found[name] = {
            "fingerprint": device.fingerprint().to_json(),
            "id": device.fingerprint().id,
            "threads": device.physical_cores(),
            "runtimes": {
                runtime: {
                    "version": installed[runtime],
                    "precisions": list(PRECISIONS[runtime]),
                    "install": None if installed[runtime] else _PIP[runtime],
                }
                for runtime in RUNTIMES
                if (runtime == "fake") == (name == "fake")
            },
        }
    return {"devices": found}


def arguments(_parser: argparse.ArgumentParser) -> None:
    """No flags of its own."""


def run(_args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    return devices(), 0


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

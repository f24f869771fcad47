"""Serve artifacts on this machine by the Open Inference Protocol, over HTTP with JSON.

A model is called as its directory, and answers at /v2/models/NAME/infer. As many requests run at once as
its target has streams. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cutonce.console import progress, talk
from cutonce.options import add_out, keep
from devices.errors import MissingDependency, UsageError

HOST, PORT = "127.0.0.1", 8000


def serve(
    directories: Sequence[str | Path],
    *,
    host: str = HOST,
    port: int = PORT,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Serve until interrupted.

    Args:
        host: the address to listen at; others than this machine reach it only where it is one of theirs.
        port: 0 takes one that is free, and says which.
        out: write the address and the models there, as JSON, when it begins to answer.

    Raises:
        ArtifactError: a directory is no artifact. ArtifactChanged: a file of one was changed.
        UsageError: two are called the same, or the port is taken.
    """
    try:
        import uvicorn

        from deploy.serving.application import application
        from deploy.serving.served import Served
    except ImportError as error:
        raise MissingDependency(
            'Serving needs fastapi and uvicorn: pip install "cutonce[serve]".'
        ) from error
    from deploy.artifact import Artifact

    artifacts: dict[str, Artifact] = {}
    for place in map(Path, directories):
        name = place.resolve().name
        if name in artifacts:
            raise UsageError(f"Two artifacts are called {name!r}; rename one of their directories.")
        artifacts[name] = Artifact.open(place)
    with _listening(host, port) as listener:
        with progress("loading"):
            alone = len(artifacts) == 1
            served = {name: Served(artifact, alone=alone) for name, artifact in artifacts.items()}
        address = "http://{}:{}".format(*listener.getsockname()[:2])
        result = keep(out, {"address": address, "models": list(served)})
        for name in served:
            talk(f"{address}/v2/models/{name}")
        uvicorn.Server(uvicorn.Config(application(served), log_level="warning")).run([listener])
    return result


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port < 2**16:
        raise UsageError(f"--port must be 0 to 65535, not {port}.")
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise UsageError(
            f"Nothing can listen at {host}:{port} ({error}); give another --port, or 0 for a free one."
        ) from error
    # Connections inherit it. Without it an answer's body waits until its head is acknowledged, 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directories", nargs="+", metavar="DIR", help="artifact directories")
    parser.add_argument("--host", default=HOST, help=f"address to listen at (default {HOST})")
    parser.add_argument("--port", type=int, default=PORT, help=f"0 for a free one (default {PORT})")
    add_out(parser)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    return serve(args.directories, host=args.host, port=args.port, out=args.out), 0


def show(_result: dict[str, Any]) -> None:
    """Nothing: all was said while it served."""

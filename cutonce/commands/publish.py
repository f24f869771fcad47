"""Put an artifact where it is to be served from.

    triton:DIR        a model repository of NVIDIA's Triton Inference Server (onnxruntime)
    ovms:DIR          a model repository of OpenVINO Model Server (openvino)
    hub:USER/NAME     a repository of the Hugging Face Hub; the one destination that needs the network

Every file is checked against its hash first.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutonce.console import show as say
from cutonce.options import add_out, keep
from devices.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from deploy.artifact import Artifact

DESTINATIONS = ("triton", "ovms", "hub")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def publish(
    directory: str | Path,
    to: str,
    *,
    name: str | None = None,
    private: bool = False,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Publish one artifact; returns where it is now.

    Args:
        to: ``triton:DIR``, ``ovms:DIR`` or ``hub:USER/NAME``.
        name: of the model in a server's repository; default: the artifact's directory.
        private: of a repository on the hub that is made.
        out: write the result there too, as JSON.

    Raises:
        ArtifactError: it is no artifact. ArtifactChanged: a file of it was changed.
        UsageError: a destination of another form, or one that does not run the artifact's runtime.
    """
    from deploy.artifact import Artifact

    kind, _, place = to.partition(":")
    if kind not in DESTINATIONS:
        raise UnknownName("destination", kind, DESTINATIONS)
    if not place:
        raise UsageError(f"Destination {to!r} says not where; write triton:models or hub:me/model.")
    if (kind == "hub" and name is not None) or (kind != "hub" and private):
        raise UsageError(
            "--name is of a model on a server, and --private of a repository on the hub."
        )
    artifact = Artifact.open(Path(directory))
    known_as = name or artifact.directory.resolve().name
    if kind != "hub" and not _NAME.fullmatch(known_as):
        raise UsageError(
            f"{known_as!r} is no name of a model; give a --name of letters, digits and . _ -."
        )
    found = _put(artifact, kind, place, known_as, private)
    return keep(out, {"artifact": str(directory), "published": found})


def _put(artifact: Artifact, kind: str, place: str, name: str, private: bool) -> str:
    if kind == "hub":
        from deploy.hub import push_to_hub

        return push_to_hub(artifact, place, private=private)
    if kind == "triton":
        from deploy.serving.triton import write_triton

        return str(write_triton(artifact, Path(place), name))
    from deploy.serving.openvino_model_server import write_openvino_model_server

    return str(write_openvino_model_server(artifact, Path(place), name))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="an artifact")
    parser.add_argument("--to", required=True, help="triton:DIR, ovms:DIR or hub:USER/NAME")
    parser.add_argument("--name", help="of the model on a server (default: the directory's)")
    parser.add_argument("--private", action="store_true", help="a repository made on the hub")
    add_out(parser)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    found = publish(args.directory, args.to, name=args.name, private=args.private, out=args.out)
    return found, 0


def show(result: dict[str, Any]) -> None:
    say(f"{result['artifact']} is at {result['published']}")

"""Ways to damage an artifact, each of which `cutonce verify` has to name: for deployment.py."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from common import Row

from cutonce.commands.verify import verify
from deploy.artifact import Artifact
from devices.errors import ArtifactError

Damage = Callable[[Path], None]


def flipped(name: str, place: float) -> Damage:
    """One bit of a file, at a share of its length."""

    def damage(directory: Path) -> None:
        path = directory / name
        data = bytearray(path.read_bytes())
        data[int(place * (len(data) - 1))] ^= 1
        path.write_bytes(data)

    return damage


def cut_short(name: str, keep: float) -> Damage:
    def damage(directory: Path) -> None:
        path = directory / name
        data = path.read_bytes()
        path.write_bytes(data[: int(keep * len(data))])

    return damage


def removed(name: str) -> Damage:
    return lambda directory: (directory / name).unlink()


def added(name: str) -> Damage:
    def damage(directory: Path) -> None:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text("more")

    return damage


def exchanged(first: str, second: str) -> Damage:
    def damage(directory: Path) -> None:
        whole = (directory / first).read_bytes()
        shutil.copyfile(directory / second, directory / first)
        (directory / second).write_bytes(whole)

    return damage


def rewritten(*keys: str, value: object) -> Damage:
    """A field of the manifest."""

    def damage(directory: Path) -> None:
        path = directory / "manifest.json"
        manifest = json.loads(path.read_text())
        inner = manifest
        for key in keys[:-1]:
            inner = inner[int(key) if isinstance(inner, list) else key]
        inner[keys[-1]] = value
        path.write_text(json.dumps(manifest))

    return damage


def damages(model: str) -> dict[str, Damage]:
    """By what is done; ``model`` is the exported file."""
    return {
        "first byte of the model": flipped(model, 0.0),
        "a bit inside the model": flipped(model, 0.5),
        "last byte of the model": flipped(model, 1.0),
        "model cut short": cut_short(model, 0.9),
        "model empty": cut_short(model, 0.0),
        "model missing": removed(model),
        "a bit of the weights": flipped("model.safetensors", 0.7),
        "weights cut short": cut_short("model.safetensors", 0.99),
        "config changed": flipped("config.json", 0.5),
        "tokenizer changed": flipped("tokenizer.json", 0.5),
        "tokenizer missing": removed("tokenizer.json"),
        "report forged": rewritten_report,
        "report missing": removed("reports/parity.json"),
        "run.py changed": flipped("run.py", 0.2),
        "a file too many": added("onnx/more.data"),
        "two files exchanged": exchanged("config.json", "README.md"),
        "manifest missing": removed("manifest.json"),
        "manifest cut short": cut_short("manifest.json", 0.6),
        "another precision in the manifest": rewritten("target", "precision", value="int8"),
        "a path that climbs out": rewritten("files", "0", "path", value="../outside"),
        "a newer schema": rewritten("schema", value=99),
    }


def rewritten_report(directory: Path) -> None:
    path = directory / "reports" / "latency.json"
    report = json.loads(path.read_text())
    path.write_text(json.dumps({**report, "intrinsic": report["intrinsic"] / 2}))


def damaged(artifact: Artifact) -> Row:
    """How many of them are refused, by an error that names the place."""
    missed = []
    model = artifact.exported.path.relative_to(artifact.directory).as_posix()
    every = damages(model)
    for name, damage in every.items():
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / "copy"
            shutil.copytree(artifact.directory, copy)
            damage(copy)
            try:
                verify([copy], visits=1, store=Path(place) / "store.sqlite")
                missed.append(name)
            except ArtifactError as error:
                if str(copy) not in str(error):
                    missed.append(f"{name} ({error})")
    text = f"{len(every) - len(missed)} of {len(every)} caught"
    return "damaged artifacts", text + (f"; not {', '.join(missed)}" if missed else ""), not missed

"""CONFIG: every way in which a user may name an architecture."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.architecture import Architecture, uniform
from devices.errors import CutonceError, UsageError
from elastic.families import family_of

SHAPE = re.compile(r"L(\d+)-H(\d+)-A(\d+)-F(\d+)", re.IGNORECASE)


def read_configurations(texts: Sequence[str]) -> dict[str, Architecture]:
    """Every architecture that ``texts`` name, by its name; ``@FILE`` stands for the lines of a file, each
    a configuration or the JSON of one.

    Raises:
        UsageError: one cannot be read; of a file the line is said.
        ModelError: a config.json of a model that is not supported.
    """
    found: dict[str, Architecture] = {}
    for text in texts:
        if text.startswith("@"):
            found |= _lines(Path(text[1:]))
        else:
            found[text] = read_configuration(text)
    return found


def _lines(path: Path) -> dict[str, Architecture]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is no list of configurations ({error}); expected one on each line."
        ) from error
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            if line.lstrip().startswith("{"):
                found[f"{path}:{number}"] = _from_data(json.loads(line), path)
            else:
                found[line.strip()] = read_configuration(line.strip())
        except (CutonceError, ValueError) as error:
            raise UsageError(f"Line {number} of {path}: {error}") from error
    return found


def read_configuration(text: str) -> Architecture:
    """An architecture file, a model directory or its config.json, or ``L6-H384-A12-F1536``.

    Raises:
        UsageError: none of these.
        ModelError: a config.json of a model that is not supported.
    """
    shape = SHAPE.fullmatch(text)
    if shape:
        layers, hidden, heads, width = map(int, shape.groups())
        return uniform(layers, hidden, heads, width)
    path = Path(text)
    if path.is_dir():
        path = path / "config.json"
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{text!r} is not a configuration ({error}); give an architecture file, a model directory, "
            "its config.json, or a shape such as L6-H384-A12-F1536."
        ) from error
    return _from_data(data, path)


def _from_data(data: Any, path: Path) -> Architecture:
    if not isinstance(data, dict):
        raise UsageError(
            f"{path} is no configuration: it holds a JSON {type(data).__name__}, not an object."
        )
    if "architecture" in data:
        return Architecture.from_json(data["architecture"])
    if "model_type" in data:
        return family_of(data, str(path)).architecture(data)
    return Architecture.from_json(data)

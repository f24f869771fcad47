"""Families of checkpoints, and reading any model that cutonce works on.

In scope: finding a model by directory or hub name, translating its configuration and copying its
weights into an Encoder. Out of scope: writing other formats, tokenising.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devices.errors import ModelError, UnknownName
from devices.registry import Registry

if TYPE_CHECKING:
    from deploy.encoder import Encoder
    from elastic.families.family import Family

FAMILIES = Registry(
    "model type",
    {
        "bert": "elastic.families.bert:FAMILY",
        "modernbert": "elastic.families.modernbert:FAMILY",
        "roberta": "elastic.families.roberta:FAMILY",
        "distilbert": "elastic.families.distilbert:FAMILY",
        "albert": "elastic.families.albert:FAMILY",
        "electra": "elastic.families.electra:FAMILY",
    },
)
"""By the ``model_type`` of transformers."""

OWN_TYPE = "cutonce-encoder"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")
_SMALL_FILES = ("*.json", "vocab.txt")
_WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be cut.

    Attributes:
        encoder: in evaluation mode.
        tokenizer: the directory that holds its tokenizer, None where it has none.
        source: what the user named.
    """

    encoder: Encoder
    tokenizer: Path | None
    source: str


def load(model: str | Path) -> LoadedModel:
    """Read a directory of cutonce or transformers, or fetch a hub name.

    Raises ModelError where there is no whole model of a supported type.
    """
    directory = locate(model)
    config = read_config(directory)
    kind = config.get("model_type")
    if kind == OWN_TYPE:
        from deploy.encoder import Encoder

        encoder = Encoder.from_pretrained(directory)
    else:
        encoder = family_of(config, str(directory)).load(directory)
    has_tokenizer = any((directory / name).is_file() for name in _TOKENIZER_FILES)
    return LoadedModel(encoder, directory if has_tokenizer else None, str(model))


def locate(model: str | Path) -> Path:
    """The directory of ``model``: itself, or where the hub's files were put.

    A name is looked up on the hub only when it is no path here and looks like a hub name.

    Raises ModelError where there is no such directory and it cannot be fetched.
    """
    path = Path(model)
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"{model} is a file; give the directory that holds config.json.")
    if isinstance(model, Path) or not _HUB_NAME.fullmatch(model):
        raise ModelError(f"There is no directory {model}; give a model directory or a hub name.")
    return _fetch(model)


def read_config(directory: Path) -> dict[str, Any]:
    """The config.json of a model directory; raises ModelError where it is missing or damaged."""
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read ({error}); expected a model directory as transformers or "
            "cutonce saves it."
        ) from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} is not a model's configuration; expected a JSON object.")
    return config


def family_of(config: Mapping[str, Any], source: str) -> Family:
    """The family of a config.json of transformers; raises ModelError where it is not supported."""
    try:
        family: Family = FAMILIES.get(str(config.get("model_type")))
    except UnknownName as error:
        raise ModelError(f"{source} cannot be read. {error}") from error
    return family


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        directory = Path(snapshot_download(name, allow_patterns=[*_SMALL_FILES, _WEIGHT_FILES[0]]))
        if not any(directory.glob(_WEIGHT_FILES[0])):  # older checkpoints have no safetensors
            directory = Path(
                snapshot_download(name, allow_patterns=[*_SMALL_FILES, *_WEIGHT_FILES])
            )
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"{name} is no directory here, and the hub did not give it ({reason}); check the "
            "name and the network, or give a model directory."
        ) from error
    return directory

"""The devices that the user added, by name: ``devices.json`` in the user's configuration.

{"schema": 1, "ssh": {"pi4": {"host": "pi@192.0.2.7", "python": "python3"}}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devices.errors import StoreError, UsageError
from devices.files import write_json

SCHEMA = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


def known_path() -> Path:
    import platformdirs

    return Path(platformdirs.user_config_dir("cutonce", appauthor=False)) / "devices.json"


def known_devices() -> dict[str, dict[str, dict[str, Any]]]:
    """Kind to name to what is known. Raises StoreError where the file cannot be read."""
    path = known_path()
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        schema = data.pop("schema")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} cannot be read ({error!r}); mend or remove it.") from error
    if schema > SCHEMA:
        raise StoreError(f"{path} is of a newer cutonce (schema {schema}); upgrade this one.")
    return dict(data)


def known_device(kind: str, name: str) -> dict[str, Any]:
    """What is known of a device; empty where it was not added."""
    return known_devices().get(kind, {}).get(name, {})


def remember_device(kind: str, name: str, facts: Mapping[str, Any]) -> None:
    """Add a device, in place of one of that name. Raises UsageError where ``name`` is none."""
    require_name(name)
    known = known_devices()
    known.setdefault(kind, {})[name] = dict(facts)
    write_json(known_path(), {"schema": SCHEMA, **known})


def require_name(name: str) -> None:
    """Raises UsageError where ``name`` is none for a device."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a device; expected letters, digits, dots and hyphens."
        )

"""Names to implementations, imported when asked for: capabilities as data."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from devices.errors import UnknownName


class Registry:
    """A table of ``name -> "module:attribute"``; nothing is imported before :meth:`get`."""

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def get(self, name: str) -> Any:
        """Import and return what ``name`` stands for.

        Raises:
            UnknownName: no entry of that name; the message suggests the nearest.
        """
        try:
            module, attribute = self._entries[name].split(":")
        except KeyError:
            raise UnknownName(self.kind, name, self._entries) from None
        return getattr(importlib.import_module(module), attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

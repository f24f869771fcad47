"""cutonce: measure twice, cut once.

The front door. Each command of ``cutonce --help`` is a function here with the same name and
arguments; they are imported when first used.

In scope: the commands and the flows that cross rooms. Out of scope: measuring, predicting,
searching, exporting, which live in the rooms below.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "compare",
    "demo",
    "devices",
    "export",
    "fleet",
    "measure",
    "predict",
    "pretrain",
    "profile",
    "publish",
    "report",
    "search",
    "serve",
    "store",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(f"cutonce.commands.{name}"), name)
    raise AttributeError(f"module 'cutonce' has no attribute {name!r}")

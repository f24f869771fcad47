"""A sub-network on disk: an encoder that knows which budget it was cut for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.encoder import Encoder
from deploy.task import Task
from deploy.workload import Workload
from devices.files import whole_directory, write_json
from elastic.search.budget import Budget

SCHEMA = 1
RECORD = "subnet.json"


def save_subnet(
    directory: Path,
    encoder: Encoder,
    *,
    tokenizer: Path | None,
    budget: Budget,
    limit: float,
    workload: Workload,
    chain: Sequence[str],
    source: str,
    task: Task,
) -> None:
    """Write the encoder with its tokenizer and the budget it was cut for, whole or not at all."""
    with whole_directory(directory) as unfinished:
        encoder.save_pretrained(unfinished)
        if tokenizer is not None:
            copy_tokenizer(tokenizer, unfinished)
        record = {
            "schema": SCHEMA,
            "target": str(budget.target),
            "limit": limit,
            "bound": budget.bound,
            "workload": workload.to_json(),
            "chain": list(chain),
            "source": source,
            "task": task.to_json(),
        }
        write_json(unfinished / RECORD, record)


def read_record(directory: Path) -> dict[str, Any] | None:
    """What the sub-network was cut for, or None for any other model."""
    path = directory / RECORD
    return json.loads(path.read_text()) if path.exists() else None


def copy_tokenizer(source: Path, directory: Path) -> None:
    from deploy.artifact import TOKENIZER_FILES

    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, directory / name)

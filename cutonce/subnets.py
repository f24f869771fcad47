"""A sub-network on disk: an encoder that knows which budget it was cut for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.encoder import Encoder
from deploy.task import Task
from deploy.tokens import place_tokenizer
from deploy.workload import Workload
from devices.errors import ModelError
from devices.files import whole_directory, write_json
from elastic.search.budget import Budget
from elastic.search.supernet import Network

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
    network: Network,
    source: str,
    task: Task,
) -> None:
    """Write the encoder with its tokenizer and the budget it was cut for, whole or not at all."""
    with whole_directory(directory) as unfinished:
        encoder.save_pretrained(unfinished)
        if tokenizer is not None:
            place_tokenizer(tokenizer, unfinished)
        record = {
            "schema": SCHEMA,
            "target": str(budget.target),
            "limit": limit,
            "bound": budget.first.bound,
            "fraction": budget.first.value if budget.first.relative else None,
            "workload": workload.to_json(),
            "chain": network.chain_text,
            "trunk": network.trunk_text,
            "source": source,
            "task": task.to_json(),
        }
        write_json(unfinished / RECORD, record)


def read_record(directory: Path) -> dict[str, Any] | None:
    """What the sub-network was cut for, or None for any other model.

    Raises:
        ModelError: the record is damaged, or of another schema.
    """
    path = directory / RECORD
    if not path.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        if record["schema"] != SCHEMA:
            raise ValueError(f"schema {record['schema']}, expected {SCHEMA}")
        _ = record["target"], record["limit"], record["bound"], record["workload"], record["chain"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is damaged ({type(error).__name__}: {error}); `cutonce search` writes it."
        ) from error
    return record

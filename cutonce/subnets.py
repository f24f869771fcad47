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
from elastic.search.rounds import Round

SCHEMAS = (1, 2)  # that are read; in 1 a budget was one limit. The last is written.
RECORD = "subnet.json"


def save_subnet(
    directory: Path,
    encoder: Encoder,
    *,
    tokenizer: Path | None,
    step: Round,
    workload: Workload,
    source: str,
    task: Task,
) -> None:
    """Write the encoder with its tokenizer and the limits it was cut for, whole or not at all.

    Args:
        step: what was measured of the network that was chosen.
    """
    with whole_directory(directory) as unfinished:
        encoder.save_pretrained(unfinished)
        if tokenizer is not None:
            place_tokenizer(tokenizer, unfinished)
        record = {
            "schema": SCHEMAS[-1],
            "target": str(step.first.constraint.target),
            "limits": [taken.limit_json() for taken in step.taken],
            "workload": workload.to_json(),
            "chain": step.network.chain_text,
            "trunk": step.network.trunk_text,
            "taught": step.network.supernet.taught,
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
        if record["schema"] not in SCHEMAS:
            raise ValueError(f"schema {record['schema']}, expected one of {SCHEMAS}")
        _ = record["limits" if record["schema"] > 1 else "limit"]
        _ = record["target"], record["workload"], record["chain"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is damaged ({type(error).__name__}: {error}); `cutonce search` writes it."
        ) from error
    return record

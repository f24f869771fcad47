"""The run directory of a search: what was asked, what is done, what came out.

RUN/request.json     the arguments; the same command with the same RUN goes on where it stopped
RUN/subnets/NAME/    one sub-network per budget: config.json, model.safetensors, tokenizer, subnet.json
RUN/dense/           the dense model as it was measured: what a relative budget is judged beside
RUN/artifacts/NAME/  what `cutonce export` made of them
RUN/run.json         the evidence, written last
RUN/work/            exports and checkpoints, removed at the end
"""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

from devices.errors import DataError, UsageError
from devices.files import write_json

SCHEMA = 1
DENSE = "dense"


class Run:
    """One run directory, new or resumed.

    Raises:
        UsageError: the directory holds another search, or something else.
    """

    def __init__(self, path: Path, request: dict[str, Any]) -> None:
        self.path = path
        self.work = path / "work"
        known = path / "request.json"
        if known.exists():
            stored = json.loads(known.read_text())
            self.id: str = stored.pop("id")
            if stored != request:
                changed = sorted(k for k in {*stored, *request} if stored.get(k) != request.get(k))
                raise UsageError(
                    f"{path} holds another search (different: {', '.join(changed)}); choose another "
                    "--out, or remove that directory."
                )
        elif path.exists() and any(path.iterdir()):
            raise UsageError(f"{path} exists and is no cutonce run; choose another --out.")
        else:
            self.id = secrets.token_hex(6)
            write_json(known, {"id": self.id, **request})

    @property
    def result(self) -> dict[str, Any] | None:
        """The finished run's evidence, or None while it is unfinished."""
        return read_run(self.path) if (self.path / "run.json").exists() else None

    def discard(self) -> None:
        """Forget the request, so that another may take the directory."""
        shutil.rmtree(self.path)

    def finish(self, result: dict[str, Any]) -> None:
        write_json(self.path / "run.json", {"schema": SCHEMA, **result})
        shutil.rmtree(self.work, ignore_errors=True)


def read_run(path: Path) -> dict[str, Any]:
    """The evidence of a finished run.

    Raises:
        DataError: ``path`` holds no finished run, or one of another schema.
    """
    try:
        data: dict[str, Any] = json.loads((path / "run.json").read_text())
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']}, expected {SCHEMA}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} holds no finished search ({error}); `cutonce search … --out {path}` makes or "
            "finishes one."
        ) from error
    return data

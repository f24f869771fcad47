"""Run an exported file in a fresh process: ``python -m devices.runner`` (used by the parity gate).

Standard input: JSON {runtime, path, precision, threads, inputs, outputs}, the last two being
``.npz`` files: inputs are named ``<batch>.<input>``, outputs ``<batch>.<output>``. What fails is
said on standard error, with exit code 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from devices.errors import CutonceError
from devices.runtimes import RUNTIMES, Arrays


def pack(batches: Sequence[Arrays], path: Path) -> None:
    """Write batches of named arrays as one ``.npz``."""
    arrays: dict[str, Any] = {
        f"{i}.{name}": array for i, batch in enumerate(batches) for name, array in batch.items()
    }
    np.savez(path, **arrays)


def unpack(path: Path) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Read what :func:`pack` wrote."""
    batches: dict[int, dict[str, np.ndarray[Any, Any]]] = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            number, _, name = key.partition(".")
            batches.setdefault(int(number), {})[name] = arrays[key]
    return [batches[number] for number in sorted(batches)]


def answer(request: dict[str, Any]) -> None:
    """Run every batch of ``inputs``, write ``outputs``."""
    runtime = RUNTIMES.get(request["runtime"])()
    session = runtime.load(Path(request["path"]), request["precision"], request["threads"])
    answers = [session.run(batch) for batch in unpack(Path(request["inputs"]))]
    named = [{str(i): array for i, array in enumerate(arrays)} for arrays in answers]
    pack(named, Path(request["outputs"]))


def main() -> int:
    try:
        answer(json.load(sys.stdin))
    except CutonceError as error:
        print(error, file=sys.stderr)
    except Exception as error:  # vendors raise types of their own while they run
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())

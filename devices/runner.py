"""One question to a machine, answered by a fresh process there.

Standard input: a line of JSON, then what it speaks of. Standard output: the answer.

    {"do": "look"}                                   -> JSON of :class:`devices.look.Look`
    {"do": "run", "runtime", "path", "precision", "threads"}, then inputs as ``.npz``
                                                     -> outputs as ``.npz``

In an ``.npz`` inputs are named ``<batch>.<input>``, outputs ``<batch>.<output>``. What fails is said on
standard error, with exit code 1. Travels to other machines.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from devices.errors import CutonceError
from devices.look import look_here
from devices.pipes import claim_output

if TYPE_CHECKING:  # a machine without numpy can still be looked at
    import numpy as np

    Batch = Mapping[str, np.ndarray[Any, Any]]


def pack(batches: Sequence[Batch]) -> bytes:
    """Batches of named arrays as one ``.npz``."""
    import numpy as np

    arrays: dict[str, Any] = {
        f"{i}.{name}": array for i, batch in enumerate(batches) for name, array in batch.items()
    }
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return packed.getvalue()


def unpack(packed: bytes) -> list[dict[str, np.ndarray[Any, Any]]]:
    """What :func:`pack` packed."""
    import numpy as np

    batches: dict[int, dict[str, np.ndarray[Any, Any]]] = {}
    with np.load(io.BytesIO(packed)) as arrays:
        for key in arrays.files:
            number, _, name = key.partition(".")
            batches.setdefault(int(number), {})[name] = arrays[key]
    return [batches[number] for number in sorted(batches)]


def answer(request: Mapping[str, Any], rest: BinaryIO) -> bytes:
    """The answer to ``request``, where ``rest`` holds what follows it."""
    if request["do"] == "look":
        return json.dumps(look_here().to_json()).encode()
    from devices.runtimes import RUNTIMES

    runtime = RUNTIMES.get(request["runtime"])()
    session = runtime.load(Path(request["path"]), request["precision"], request["threads"])
    answers = [session.run(batch) for batch in unpack(rest.read())]
    return pack([{str(i): array for i, array in enumerate(arrays)} for arrays in answers])


def main() -> int:
    output = claim_output()
    try:
        output.write(answer(json.loads(sys.stdin.buffer.readline()), sys.stdin.buffer))
        output.flush()
    except CutonceError as error:
        print(error, file=sys.stderr)
    except Exception as error:  # vendors raise types of their own while they run
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())

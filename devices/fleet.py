"""A device of a fleet: a worker of dask.distributed that offers a resource of the device's name.

    dask worker tcp://scheduler:8786 --nthreads 1 --resources "pi4=1"

What a worker offers is the machine that it runs on, or what the variable CUTONCE_DEVICE names there. A
worker that dies takes its agents along; the next one that offers the resource goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import numpy as np

from devices.cluster import Facts, connect, explained, results, workers
from devices.device import AgentProcess, Device
from devices.errors import UnknownName
from devices.fingerprint import Fingerprint
from devices.known import known_device, known_devices
from devices.runtimes import Arrays
from devices.sending import request_of, with_siblings
from devices.worker import WorkerAgent, keep, kept, with_offered

T = TypeVar("T")

KIND = "fleet"


class FleetDevice:
    """``fleet:NAME``: a device that was added under that name.

    What is known of it: ``scheduler``, the address; ``resource``, what its worker offers.
    """

    def __init__(self, detail: str, known: Mapping[str, str] | None = None) -> None:
        known = known_device(KIND, detail) if known is None else known
        if not known:
            raise UnknownName(f"{KIND} device", detail, known_devices().get(KIND, {}))
        self.name = f"{KIND}:{detail}"
        self._scheduler, self._resource = known["scheduler"], known["resource"]

    def physical_cores(self) -> int:
        return self.do(lambda device: device.physical_cores())

    def fingerprint(self) -> Fingerprint:
        return self._who[0]

    def boot(self) -> str | None:
        return self._who[1]

    @cached_property
    def _who(self) -> tuple[Fingerprint, str | None]:
        return self.do(lambda device: (device.fingerprint(), device.boot()))

    def runtimes(self) -> Mapping[str, str | None]:
        return self.do(lambda device: device.runtimes())

    def put(self, path: Path) -> str:
        files = with_siblings(path)
        key, names = request_of(files)["key"], [file.name for file in files]
        place = self.do(lambda _device: kept(key, names))
        if place is None:
            data = {file.name: file.read_bytes() for file in files}
            place = self.do(lambda _device: keep(key, data))
        return f"{place}/{path.name}"

    def start(self, archive: Path) -> AgentProcess:
        program = archive.read_bytes()
        return _AgentFarAway(self._result(WorkerAgent, archive.name, program, actor=True))

    def run(
        self, runtime: str, path: Path, precision: str, threads: int, batches: Sequence[Arrays]
    ) -> list[list[np.ndarray[Any, Any]]]:
        there = Path(self.put(path))
        plain = [dict(batch) for batch in batches]
        return self.do(lambda device: device.run(runtime, there, precision, threads, plain))

    def do(self, work: Callable[[Device], T]) -> T:
        """Have a worker that offers the device do something with it.

        Raises:
            DeviceError: as the device there.
            Unreachable: no worker offers it, or the one that does died.
        """
        return cast(T, self._result(with_offered, work))

    def _result(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What a worker that offers the device makes of it."""
        missing = (
            f"{self.name} is offered by no worker of {self._scheduler}; start one with "
            f'--resources "{self._resource}=1".'
        )
        with explained(self.name, missing):
            client, wanted = connect(self._scheduler), {self._resource: 1}
            future = client.submit(function, *arguments, pure=False, resources=wanted, **options)
            [found] = results([future], lambda: bool(workers(client, self._is_offered_by)))
            return found

    def _is_offered_by(self, worker: Facts) -> bool:
        return self._resource in worker["resources"]


class _AgentFarAway:
    """The agent that an actor on a worker holds, as a process with pipes: both are this object."""

    def __init__(self, actor: Any) -> None:
        self._actor, self._asked, self._gone = actor, b"", False
        self.stdin: IO[bytes] | None = cast(IO[bytes], self)
        self.stdout: IO[bytes] | None = cast(IO[bytes], self)

    def write(self, line: bytes) -> None:
        self._asked += line

    def flush(self) -> None:
        """What was written goes with the question for its answer."""

    def readline(self) -> bytes:
        asked, self._asked = self._asked, b""
        return self._call("ask", asked) or b""

    def close(self) -> None:
        self._call("close")

    def poll(self) -> int | None:
        return -1 if self._gone else cast("int | None", self._call("poll"))

    def kill(self) -> None:
        self._call("kill")

    def wait(self, timeout: float | None = None) -> int:
        code = self._call("wait", timeout)
        return -1 if code is None else int(code)

    def last_words(self) -> str:
        return self._call("last_words") or ""

    def lost(self) -> bool:
        return self._gone

    def _call(self, method: str, *arguments: Any) -> Any:
        """What the actor answers, None where its worker is gone."""
        if self._gone:
            return None
        try:
            return getattr(self._actor, method)(*arguments).result()
        except Exception:  # whatever the engine raises of a worker that died
            self._gone = True
            return None

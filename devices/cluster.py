"""Schedulers of dask.distributed: connections to them, what is asked of their workers, and what the
errors of that engine mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from devices.errors import CutonceError, DeviceError, MissingDependency, Unreachable

PATIENCE = 30.0  # seconds that what no worker can do is waited for

Facts = Mapping[str, Any]
"""What a scheduler knows of a worker."""

_CLIENTS: dict[str, Any] = {}


def connect(scheduler: str) -> Any:
    """The client of a scheduler, one for all that this process asks of it."""
    if scheduler not in _CLIENTS:
        try:
            from distributed import Client
        except ImportError as error:
            raise MissingDependency(
                'A fleet needs dask.distributed; install it with: pip install "cutonce[fleet]".'
            ) from error
        _CLIENTS[scheduler] = Client(scheduler, timeout=PATIENCE / 3)
    return _CLIENTS[scheduler]


def disconnect(scheduler: str) -> None:
    """End the connection to a scheduler, if there is one."""
    client = _CLIENTS.pop(scheduler, None)
    if client is not None:
        client.close()


def workers(client: Any, serves: Callable[[Facts], bool]) -> list[str]:
    """The addresses of the workers that serve."""
    known: Mapping[str, Facts] = client.scheduler_info(n_workers=-1)["workers"]
    return [address for address, facts in known.items() if serves(facts)]


def results(futures: Sequence[Any], any_left: Callable[[], bool]) -> list[Any]:
    """What workers make of it, however long it takes, as long as any is left that could.

    Raises what they raise, and TimeoutError.
    """
    from distributed import wait

    while True:
        try:
            wait(futures, timeout=PATIENCE)
        except TimeoutError:
            if any_left():
                continue
            for future in futures:
                future.cancel()
            raise
        return [future.result() for future in futures]


@contextmanager
def explained(name: str, missing: str) -> Iterator[None]:
    """What the engine raises while ``name`` is asked, as what it means.

    Args:
        missing: the sentence for where no worker serves.
    """
    try:
        yield
    except CutonceError:
        raise
    except TimeoutError as error:
        raise Unreachable(missing) from error
    except OSError as error:
        raise Unreachable(f"{name} cannot be reached: {error}.") from error
    except Exception as error:  # the engine's own, as KilledWorker, or what its work raised
        said = f"{type(error).__name__}: {error}"
        if type(error).__module__.partition(".")[0] == "distributed":
            raise Unreachable(f"{name} was lost: {said}") from error
        raise DeviceError(
            f"A worker of {name} failed: {said}. It needs cutonce, as it is here."
        ) from error

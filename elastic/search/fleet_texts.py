"""Sub-networks evaluated by a fleet: its workers take some of the texts each.

So a search stays the one that it is with one process, whose next candidate hangs on what the last one
lost. Workers that offer a device are left alone, so that nothing disturbs its measurements.
"""

from __future__ import annotations

import io
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import torch

from devices.cluster import Facts, connect, explained, results, workers
from devices.errors import Unreachable
from elastic.elastic_encoder import ElasticEncoder
from elastic.reconstruction.database import Database
from elastic.search.each_text import EachText, Part
from elastic.search.texts import Array, Texts
from elastic.space import Chain


class FleetTexts:
    """:class:`elastic.search.each_text.ByText`, computed by workers of dask.distributed.

    What a worker that dies has held is made anew by another.

    Args:
        scheduler: its address, as tcp://HOST:8786.

    Raises:
        Unreachable: here and when called: the scheduler is not there, or no worker that offers no device.
    """

    def __init__(
        self,
        scheduler: str,
        elastic: ElasticEncoder,
        texts: Texts,
        database: Database | None = None,
    ) -> None:
        self.texts = texts
        self._name = f"the fleet of {scheduler}"
        self._missing = (
            f"No worker of {scheduler} is free to evaluate networks: those that offer a device are left "
            "alone. Start one without --resources."
        )
        with explained(self._name, self._missing):
            self._client = connect(scheduler)
            self._packed = _packed(elastic, texts, database)
            self._begin()

    def __call__(self, chain: Chain, part: Part) -> Array:
        with explained(self._name, self._missing):
            try:
                answers = self._answers(chain, part)
            except CancelledError:
                # A worker that died had the last copy: the scheduler drops spare ones.
                self._begin()
                answers = self._answers(chain, part)
        found = np.full(part[1] - part[0], np.nan)
        for answer in answers:
            if isinstance(answer, RuntimeError):
                raise answer
            places, apart = answer
            found[places - part[0]] = apart
        return found

    def _begin(self) -> None:
        """Hand the workers that are there their shares."""
        self._free = workers(self._client, _is_free)
        if not self._free:
            raise Unreachable(self._missing)
        self._whole = self._client.scatter(
            self._packed, workers=self._free, broadcast=True, hash=False
        )
        count = min(len(self._free), len(self.texts.batches))
        numbers = range(len(self.texts.batches))
        self._shares = [self._ask(_begun, self._whole, numbers[n::count]) for n in range(count)]

    def _answers(self, chain: Chain, part: Part) -> list[Any]:
        """Of all shares."""
        asked = [self._ask(_looked_at, share, chain, part) for share in self._shares]
        return results(asked, self._any_left)

    def _ask(self, function: Any, *arguments: Any) -> Any:
        return self._client.submit(function, *arguments, pure=False, workers=self._free)

    def _any_left(self) -> bool:
        return not {*self._free}.isdisjoint(workers(self._client, _is_free))


def _is_free(worker: Facts) -> bool:
    return not worker["resources"]


def _packed(*parts: Any) -> bytes:
    """As bytes: two shares on one worker are not to be of one encoder, which is changed while it is
    used."""
    file = io.BytesIO()
    torch.save(parts, file)
    return file.getvalue()


def _begun(packed: bytes, numbers: range) -> EachText:
    """On a worker: its share of the batches."""
    _take_all_threads()
    file = io.BytesIO(packed)
    elastic, texts, database = torch.load(file, map_location="cpu", weights_only=False)
    return EachText(elastic, texts.some(numbers), database)


def _looked_at(share: EachText, chain: Chain, part: Part) -> tuple[Array, Array] | RuntimeError:
    """On a worker: places, and what the sub-network diverges by there; or what torch raised, which a
    search leaves a network out for."""
    _take_all_threads()
    places = np.concatenate([places for _, places in share.texts.within(*part)])
    try:
        return places, share(chain, part)[places - part[0]]
    except RuntimeError as error:
        return error


def _take_all_threads() -> None:
    """All that the worker was given: the engine allows one, and every thread of its is allowed anew."""
    from distributed import get_worker

    torch.set_num_threads(get_worker().state.nthreads)

"""What a teacher makes of every text, computed once and kept on the disk."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deploy.encoder import Encoder
from elastic.recipes.processes import processes
from elastic.recipes.training import Batch, inputs_of
from elastic.search.knapsack import Array
from elastic.views import Seeing

ROOM = 0.5  # of what is free on the disk, for all processes that train together


class TeacherStates:
    """The states that a teacher's blocks are given and give, of the texts of one split.

    Texts are tokenised, augmented and, for a masked language model, masked before the training, so that
    they are the same in every epoch. Each is passed through the teacher in evaluation mode when a batch
    first holds it, and is then known by its place in the split, the batch's ``index``. Its tokens'
    states, without padding, lie in half precision in a file without a name, which is gone with this
    object or its process; each process has its own. Half of what is free on the disk is used at most,
    and texts beyond that are passed again. States are rounded to half precision in any case: the disk
    does not decide the result.

    Args:
        lengths: [texts] tokens of each.
        block: sub-layers of one.
        place: directory for the file; None means the system's for temporary files.
    """

    def __init__(
        self, teacher: Encoder, lengths: Array, block: int, place: Path | None = None
    ) -> None:
        self._seeing, self._block = Seeing(teacher).eval(), block
        self._states = len(teacher.operators) // block + 1
        self._hidden = teacher.architecture.hidden
        place = Path(place or tempfile.gettempdir())
        place.mkdir(parents=True, exist_ok=True)
        token = self._states * self._hidden * torch.half.itemsize
        self._ends = np.cumsum(lengths) * token
        room = ROOM * shutil.disk_usage(place).free / processes().num_processes
        self._fits = self._ends <= room
        self._known = np.zeros(len(lengths), dtype=bool)
        self._file = tempfile.TemporaryFile(dir=place)  # noqa: SIM115 - closed with this object
        weakref.finalize(self, self._file.close)

    def __call__(self, batch: Batch) -> Tensor:
        """States [blocks + 1, batch, sequence, hidden]: the embedding, and what each block gave; of
        padding anything."""
        mask = batch["attention_mask"]
        found = torch.zeros(self._states, *mask.shape, self._hidden, dtype=torch.half)
        rows = batch["index"].tolist()
        new = [place for place, row in enumerate(rows) if not self._known[row]]
        if new:
            found[:, new] = self._passed({name: some[new] for name, some in batch.items()})
        for place, (row, length) in enumerate(zip(rows, mask.sum(1).tolist(), strict=True)):
            text = found[:, place, :length]
            if self._known[row]:
                text.copy_(self._read(row, text))
            elif self._fits[row]:
                self._write(row, text)
        return found.to(mask.device).float()

    def outputs(self, batch: Batch) -> Tensor:
        """As :meth:`deploy.encoder.Encoder.forward`."""
        encoder, last = self._encoder(batch), self(batch)[-1]
        with torch.no_grad():
            found: Tensor = encoder.head(encoder.last_norm(last), batch["attention_mask"])
        return found

    def _passed(self, batch: Batch) -> Tensor:
        self._encoder(batch)
        with torch.no_grad():
            seen = self._seeing(inputs_of(batch))
        return torch.stack(seen.states[:: self._block]).half().cpu()

    def _encoder(self, batch: Batch) -> Encoder:
        """The teacher, where the batch is."""
        return self._seeing.to(batch["input_ids"].device).encoder

    def _write(self, row: int, text: Tensor) -> None:
        data = text.contiguous().numpy().tobytes()
        self._file.seek(int(self._ends[row]) - len(data))
        self._file.write(data)
        self._known[row] = True

    def _read(self, row: int, like: Tensor) -> Tensor:
        data = bytearray(like.nbytes)
        self._file.seek(int(self._ends[row]) - len(data))
        self._file.readinto(data)
        return torch.frombuffer(data, dtype=torch.half).view(like.shape)

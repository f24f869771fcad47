"""Whether a training fits into memory, before it is begun."""

from __future__ import annotations

import math
import os

import psutil
import torch

from deploy.architecture import Architecture
from deploy.costs import activation_bytes, parameters
from deploy.workload import Workload
from devices.errors import UsageError
from elastic.recipes.processes import processes

COPIES = 5  # of the weights: theirs, the teacher's, gradients, two moments of AdamW
KEPT = 2.0  # activations that the backward pass needs, of those that a run moves


def check_room(architecture: Architecture, batch_size: int, length: int) -> None:
    """Raises UsageError, with the batch that fits, where a training step of ``batch_size`` texts of
    ``length`` tokens needs more memory than is free on the device that it would run on; of several
    processes each has its share of the texts."""
    fixed = COPIES * 4 * parameters(architecture)
    each = KEPT * activation_bytes(architecture, Workload(1, length))
    free, count = _free(), processes().num_processes
    needed = fixed + each * math.ceil(batch_size / count)
    if needed <= free:
        return
    most = int((free - fixed) / each) * count
    way = (
        f"--batch-size {most} fits" if most > 0 else "not even one text fits: use a larger machine"
    )
    raise UsageError(
        f"A training step of {batch_size} texts of {length} tokens needs about {needed / 2**30:.1f} GB "
        f"of memory, of which {free / 2**30:.1f} GB are free; {way}."
    )


def _free() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes on this machine
    return int(psutil.virtual_memory().available) // here

"""The processes that train one model together, as `accelerate launch` starts them; by default one.

Each has the whole model and takes a share of every batch. What they learn of it they bring together, so
that weights, statistics and decisions are the same in all of them, and those of one process alone. What
all of them can compute from the same data each computes for itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from devices.errors import MissingDependency
from devices.files import whole_directory

T = TypeVar("T")


def processes() -> Any:
    """accelerate's state of them: ``num_processes``, ``process_index``, ``is_main_process``,
    ``wait_for_everyone()``.

    Raises MissingDependency where accelerate is not installed.
    """
    try:
        from accelerate import PartialState
    except ImportError:
        raise MissingDependency(
            'Training needs accelerate: pip install "cutonce[train]".'
        ) from None
    return PartialState(cpu=not torch.cuda.is_available())


def share_of(items: Sequence[T]) -> Sequence[T]:
    """This process's, one of every so many: of items in order each share has some of all sizes."""
    known = processes()
    return items[known.process_index :: known.num_processes]


def mean(value: Tensor, examples: int) -> Tensor:
    """Over the examples of all processes, of which each has the mean over its own."""
    if processes().num_processes == 1:
        return value
    flat = value.detach().flatten()
    found = summed(torch.cat([flat * examples, flat.new_tensor([examples])]))
    return (found[:-1] / found[-1]).view_as(value)


def summed(value: Tensor) -> Tensor:
    """The sum over the processes, each with a tensor of the same shape."""
    known = processes()
    if known.num_processes == 1:
        return value
    found = value.to(known.device, copy=True)
    torch.distributed.all_reduce(found)
    return found.to(value.device)


def share_gradients(parameters: Iterable[nn.Parameter], examples: int) -> None:
    """Give every parameter the :func:`mean` of its gradient, in one message; one without a gradient in
    every process is left without, as an optimiser passes it over."""
    if processes().num_processes == 1:
        return
    known = list(parameters)
    there = torch.tensor([float(p.grad is not None) for p in known], device=known[0].device)
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in known]
    found = mean(torch.cat([there, *(gradient.flatten() for gradient in own)]), examples)
    there, flat = found[: len(known)], found[len(known) :]
    parts = flat.split([parameter.numel() for parameter in known])
    for parameter, some, part in zip(known, there.tolist(), parts, strict=True):
        parameter.grad = part.view_as(parameter) if some else None


def share_weights(model: nn.Module) -> None:
    """Give every process the main one's parameters and buffers."""
    from accelerate.utils import broadcast

    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            broadcast(tensor)


def agreed(value: T) -> T:
    """The main process's value, where rounding might have another decide differently."""
    from accelerate.utils import broadcast_object_list

    found: T = broadcast_object_list([value])[0]
    return found


def gathered(entries: dict[str, T]) -> dict[str, T]:
    """The entries of all processes."""
    from accelerate.utils import gather_object

    return dict(gather_object(list(entries.items())))


def finish(out: Path, unfinished: Path, write: Callable[[Path], None]) -> None:
    """Let the main process ``write`` the directory ``out``, which appears whole, and remove the
    checkpoints ``unfinished``; the others wait for it."""
    known = processes()
    if known.is_main_process:
        with whole_directory(out) as place:
            write(place)
        shutil.rmtree(unfinished)
    known.wait_for_everyone()

"""Reading weights with transformers' own loader, and refusing what is not whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from devices.errors import ModelError
from elastic.quiet import quiet

COPIES = 4  # of the weights at once: read, dense, reordered, cut
LISTED = 8  # names in a message
_LAYER = re.compile(r"\blayers?\.\d+\.")  # the heads of other tasks are left behind, layers are not


def read_model(kind: Any, directory: Path, *, fresh: tuple[str, ...] = (), **settings: Any) -> Any:
    """A transformers model of class ``kind``, in evaluation mode.

    Args:
        fresh: beginnings of the weight names that may be missing, or of another shape, and
            then start at random.
        settings: for ``from_pretrained``.

    Raises:
        ModelError: a file is missing or damaged, or other weights are missing.
    """
    try:
        with quiet():
            model, found = kind.from_pretrained(
                directory,
                dtype=torch.float32,  # by default those of the file, which may be half
                output_loading_info=True,
                local_files_only=True,
                **settings,
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"The weights in {directory} cannot be read ({reason}); expected a whole "
            f"{kind.__name__} as transformers saves it."
        ) from error
    unfit = {name for name, *_ in found["mismatched_keys"]}
    missing = sorted(n for n in {*found["missing_keys"], *unfit} if not n.startswith(fresh))
    if missing:
        raise ModelError(
            f"{directory} lacks {len(missing)} weights of its {kind.__name__}: {_listed(missing)}; save "
            "the model again."
        )
    extra = sorted(name for name in found["unexpected_keys"] if _LAYER.search(name))
    if extra:
        raise ModelError(
            f"{directory} holds {len(extra)} weights of layers that its config.json does not describe: "
            f"{_listed(extra)}; put the config.json beside it that belongs to it."
        )
    broken = [n for n, tensor in model.state_dict().items() if not tensor.isfinite().all()]
    if broken:
        raise ModelError(
            f"{len(broken)} weights in {directory} hold NaN or infinite numbers: {_listed(broken)}; the "
            "training went astray, take an earlier checkpoint."
        )
    return model.eval()


def check_memory(parameters: int, source: str) -> None:
    """Raises ModelError, before anything is read, where a model does not fit into memory."""
    import psutil

    needed, free = COPIES * 4 * parameters, psutil.virtual_memory().available
    if needed > free:
        raise ModelError(
            f"{source} has {parameters:,} parameters and needs about {needed / 2**30:.1f} GB of memory "
            f"to be cut, {free / 2**30:.1f} GB are free; close something, or use a larger machine."
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown} and {len(names) - LISTED} more"

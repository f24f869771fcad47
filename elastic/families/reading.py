"""Reading weights with transformers' own loader, and refusing what is not whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from devices.errors import ModelError
from elastic.quiet import quiet


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
                directory, output_loading_info=True, local_files_only=True, **settings
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
            f"{directory} lacks {len(missing)} weights of its {kind.__name__}, the first is "
            f"{missing[0]}; save the model again."
        )
    return model.eval()

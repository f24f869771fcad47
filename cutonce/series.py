"""Series: measurements of one target that may be compared, since the machine stayed the same."""

from __future__ import annotations

from collections.abc import Iterable

from cutonce.console import talk
from devices.device import open_device
from devices.target import Target
from profiler.store import Store


def say_new_series(store: Store, targets: Iterable[Target]) -> None:
    """Say where a target was last measured on a machine that differs, and in what."""
    for target in targets:
        last, now = store.last_fingerprint(target), open_device(target.device).fingerprint()
        if last is not None and last.id != now.id:
            talk(
                f"{target} was last measured on another machine ({'; '.join(now.differences(last))})"
                ": a new series begins, and nothing of the old one is reused."
            )

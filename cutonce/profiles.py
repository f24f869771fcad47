"""Profiles: what is known of a target, one JSON file per target and fingerprint beside the store.

The raw visits stay in the store, so a profile can always be fitted again (cutonce.profiling).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices.device import open_device
from devices.errors import StoreError
from devices.fingerprint import Fingerprint
from devices.target import Target
from predictors.predictor import LatencyPredictor
from predictors.tiles import Probe, find_tile
from profiler.measurement import Measurement
from profiler.store import Store

SCHEMA = 1


@dataclass(frozen=True)
class Profile:
    """What is known of one target: its predictor, and the measurements it was fitted to.

    Attributes:
        probes: of the tile size. operators: the operator table. Both empty where not asked for.
    """

    target: Target
    fingerprint: Fingerprint
    predictor: LatencyPredictor
    measurements: tuple[Measurement, ...]
    probes: tuple[Probe, ...] = ()
    operators: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "target": str(self.target),
            "fingerprint": self.fingerprint.to_json(),
            "predictor": self.predictor.to_json(),
            "measurements": [measurement.to_json() for measurement in self.measurements],
            "tile": find_tile(self.probes),
            "probes": [probe.to_json() for probe in self.probes],
            "operators": list(self.operators),
        }


def profile_path(store: Store, target: Target, fingerprint: Fingerprint) -> Path:
    return store.path.parent / "profiles" / f"{target.slug}-{fingerprint.id}.json"


def load_predictor(path: Path) -> tuple[str, LatencyPredictor]:
    """The target and predictor of a profile file; needs numpy only.

    Raises:
        StoreError: the file is missing or is no profile of a known schema.
    """
    try:
        data = json.loads(path.read_text())
        if data["schema"] != SCHEMA:
            raise StoreError(
                f"{path} has profile schema {data['schema']}, this version reads {SCHEMA}."
            )
        return data["target"], LatencyPredictor.from_json(data["predictor"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is not a profile ({error}); `cutonce profile TARGET` makes one."
        ) from error


def stored_predictor(store: Store, target: Target) -> LatencyPredictor | None:
    """The predictor that the store has for this target on this machine as it is now, or None."""
    path = profile_path(store, target, open_device(target.device).fingerprint())
    return load_predictor(path)[1] if path.exists() else None


def stored_tile(store: Store, target: Target) -> int | None:
    """The tile size that a profile of this machine found, None where there is none."""
    path = profile_path(store, target, open_device(target.device).fingerprint())
    tile = json.loads(path.read_text()).get("tile") if path.exists() else None
    return None if tile is None else int(tile)

"""Profiles: what is known of a target, one JSON file per target and fingerprint beside the store.

The raw visits stay in the store, so a profile can always be fitted again (cutonce.profiling).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from devices.device import open_device
from devices.errors import StoreError, UsageError
from devices.fingerprint import Fingerprint
from devices.target import Target
from predictors.predictor import SCHEMA, LatencyPredictor
from predictors.tiles import Probe, find_tile
from predictors.training import TIERS
from predictors.transfer import Speed
from profiler.measurement import Measurement
from profiler.store import Store

OWN_LAW = 2  # tier from which a predictor is a law of its own


@dataclass(frozen=True)
class Profile:
    """What is known of one target: its predictor, and the measurements it was fitted to.

    Attributes:
        speed: of one core, where there is any to be probed.
        others: predictors of what there is beside milliseconds, by name of the quantity.
        probes: of the tile size. operators: the operator table. Both empty where not asked for.
    """

    target: Target
    fingerprint: Fingerprint
    predictor: LatencyPredictor
    measurements: tuple[Measurement, ...]
    speed: Speed | None = None
    others: Mapping[str, LatencyPredictor] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()
    operators: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "target": str(self.target),
            "fingerprint": self.fingerprint.to_json(),
            "predictor": self.predictor.to_json(),
            "speed": self.speed and asdict(self.speed),
            "others": {name: other.to_json() for name, other in self.others.items()},
            "measurements": [measurement.to_json() for measurement in self.measurements],
            "tile": find_tile(self.probes),
            "probes": [probe.to_json() for probe in self.probes],
            "operators": list(self.operators),
        }


def profile_path(store: Store, target: Target, fingerprint: Fingerprint) -> Path:
    return store.path.parent / "profiles" / f"{target.slug}-{fingerprint.id}.json"


@dataclass(frozen=True)
class Kept:
    """What prediction needs of a profile's file."""

    target: Target
    fingerprint: Fingerprint
    predictor: LatencyPredictor
    speed: Speed | None
    others: Mapping[str, LatencyPredictor]


def load_profile(path: Path) -> Kept:
    """Read a profile's file; needs numpy only.

    Raises:
        StoreError: the file is missing or is no profile of a known schema.
    """
    try:
        data = json.loads(path.read_text())
        if data["schema"] != SCHEMA:
            raise StoreError(
                f"{path} has profile schema {data['schema']}, this version reads {SCHEMA}; profile the "
                "target again: what was measured is reused."
            )
        return Kept(
            Target.parse(data["target"]),
            Fingerprint.from_json(data["fingerprint"]),
            LatencyPredictor.from_json(data["predictor"]),
            data["speed"] and Speed(**data["speed"]),
            {name: LatencyPredictor.from_json(other) for name, other in data["others"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
        raise StoreError(
            f"{path} is not a profile ({error}); `cutonce profile TARGET` makes one."
        ) from error


def stored_profile(store: Store, target: Target) -> Kept | None:
    """What the store has for this target on this machine as it is now, or None; None too where an older
    version wrote it, whose measurements another profile reuses."""
    path = profile_path(store, target, open_device(target.device).fingerprint())
    if not path.exists() or _read(path).get("schema") != SCHEMA:
        return None
    return load_profile(path)


def known_predictors(store: Store, target: Target) -> list[LatencyPredictor]:
    """Those of all other targets, and of other machines, whose profiles lie beside the store, where they
    rest on enough encoders for others to be shrunk to them."""
    own = profile_path(store, target, open_device(target.device).fingerprint())
    found = []
    for path in sorted(own.parent.glob("*.json")):
        if path != own and _read(path).get("schema") == SCHEMA:
            found.append(load_profile(path).predictor)
    return [p for p in found if p.tier >= OWN_LAW and len(p.loo) >= TIERS[OWN_LAW]]


def stored_tile(store: Store, target: Target) -> int | None:
    """The tile size that a profile of this machine found, None where there is none."""
    path = profile_path(store, target, open_device(target.device).fingerprint())
    tile = _read(path).get("tile") if path.exists() else None
    return None if tile is None else int(tile)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except ValueError as error:
        raise StoreError(
            f"{path} is damaged ({error}); delete it: what was measured is kept elsewhere."
        ) from error
    return data if isinstance(data, dict) else {}

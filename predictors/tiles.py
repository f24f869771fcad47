"""Tile size: where the time of a matrix product steps up as its width grows by one.

Kernels work on whole tiles, so one column more than a multiple of the tile costs a whole tile more. A
feed-forward is measured at N and N + 1 for widths N that are odd multiples of each candidate T: the
smallest T whose pair jumps is the tile. On onnxruntime 512 to 513 columns cost +2.5 %, 513 to 528 +0.6 %.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from deploy.architecture import Architecture, FeedForward

CANDIDATES = (8, 16, 32, 64)
BASE = 512  # a multiple of twice every candidate
LAYERS = 2
COLUMN = 0.002  # by which a whole encoder grows with one column more, without any tile
JUMP = 0.005  # the least rise that is taken for a tile's


@dataclass(frozen=True)
class Probe:
    """A pair of encoders, one column apart, and what the second took relative to the first.

    Attributes:
        tile: the candidate that the pair is to tell.
        ratio: with its interval's lower and upper end; None before it was measured.
    """

    tile: int
    narrow: Architecture
    wide: Architecture
    ratio: tuple[float, float, float] | None = None

    @property
    def jumps(self) -> bool:
        if self.ratio is None:
            return False
        value, low, _ = self.ratio
        return value > 1 + JUMP and low > 1 + COLUMN

    def to_json(self) -> dict[str, Any]:
        ratio, low, high = self.ratio or (None, None, None)
        return {
            "tile": self.tile,
            "width": BASE + self.tile,
            "ratio": ratio,
            "interval": [low, high],
            "jumps": self.jumps,
        }


def plan_probes(dense: Architecture) -> list[Probe]:
    """One pair of feed-forward encoders, as wide as ``dense``, for each candidate tile."""

    def encoder(width: int) -> Architecture:
        operators = (FeedForward(width),) * LAYERS
        return replace(
            dense, hidden=dense.widths[-1], operators=operators, labels=0, head="", shares=()
        )

    return [Probe(tile, encoder(BASE + tile), encoder(BASE + tile + 1)) for tile in CANDIDATES]


def find_tile(probes: Iterable[Probe]) -> int | None:
    """The smallest candidate whose pair jumps, None where none does."""
    return min((probe.tile for probe in probes if probe.jumps), default=None)

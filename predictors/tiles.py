"""Tile size: where the time of a matrix product steps up as its width grows by one.

Kernels work on whole tiles, so one column more than a multiple of the tile costs a whole tile more. A
feed-forward is measured at N and N + 1 for widths N that are odd multiples of each candidate: with tile T
the pair of every multiple of T rises by a step in proportion to T / N, the others by their column alone.
The tile is the candidate whose steps come nearest to all that was measured (least squares), not the
smallest that rises: a kernel of 32 columns often has a smaller one for 16, and a lone pair may be off by
5 % in one start of a process. Narrow layers tell it best: from 144 to 145 columns a tile of 16 costs a
whole encoder 2 to 10 % more, from 528 to 529 less than the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deploy.architecture import Architecture, FeedForward

CANDIDATES = (8, 16, 32, 64)
BASE = 128  # a multiple of twice every candidate
LAYERS = 4  # many, so that what any run costs stays small beside them
LEAST_STEP = 0.005  # share of a whole encoder; what noise alone may look like


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
    def width(self) -> int:
        """Of the narrow feed-forward."""
        return BASE + self.tile

    def to_json(self) -> dict[str, Any]:
        ratio, low, high = self.ratio or (None, None, None)
        return {"tile": self.tile, "width": self.width, "ratio": ratio, "interval": [low, high]}


def plan_probes(dense: Architecture) -> list[Probe]:
    """One pair of feed-forward encoders, as wide as ``dense``, for each candidate tile."""

    def encoder(width: int) -> Architecture:
        operators = (FeedForward(width),) * LAYERS
        return replace(
            dense, hidden=dense.widths[-1], operators=operators, labels=0, head="", shares=()
        )

    return [Probe(tile, encoder(BASE + tile), encoder(BASE + tile + 1)) for tile in CANDIDATES]


def find_tile(probes: Sequence[Probe]) -> int | None:
    """The candidate whose steps explain the pairs best; None where none does or a pair is open."""
    ratios = [probe.ratio[0] for probe in probes if probe.ratio is not None]
    if not ratios or len(ratios) < len(probes):
        return None
    widths = np.array([probe.width for probe in probes])
    # A column costs its share of the feed-forwards, and nearly all of the time is theirs.
    rises = np.array(ratios) - 1 - 1 / widths
    best, least = None, float(rises @ rises)
    for tile in CANDIDATES:
        steps = np.where(widths % tile == 0, tile / widths, 0.0)
        share = float(steps @ rises / (steps @ steps))
        left = rises - share * steps
        if share * steps.max() > LEAST_STEP and left @ left < least:
            best, least = tile, float(left @ left)
    return best

"""What a profile says of a target beside milliseconds: file size, peak memory, energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle

from cutonce.candidates import VOCABULARY, Pair
from devices.target import Target
from predictors.predictor import LatencyPredictor
from predictors.quantity import ENERGY, FILE_SIZE, PEAK_MEMORY, Quantity
from profiler.footprint import Footprint
from profiler.measurement import Measurement

CAMPAIGN = "profile/footprint"
WEIGHED = 10  # encoders: nothing disturbs a size, so few do
ROWS = (VOCABULARY, 16 * VOCABULARY)  # of the embedding tables, in turn, so that their share shows
MB = 1e6


def to_weigh(pairs: Sequence[Pair]) -> list[Pair]:
    """The first of ``pairs``, which determine the law, with small and large embedding tables."""
    return [
        (replace(encoder, vocabulary=rows), workload)
        for (encoder, workload), rows in zip(pairs[:WEIGHED], cycle(ROWS), strict=False)
    ]


def other_predictors(
    target: Target, footprints: Mapping[Pair, Footprint], measured: Sequence[Measurement]
) -> dict[str, LatencyPredictor]:
    """By name of the quantity; of those alone that this target tells."""
    files = {pair: found.file_bytes / MB for pair, found in footprints.items()}
    peaks = {pair: found.peak_bytes for pair, found in footprints.items()}
    energies = {(m.architecture, m.workload): m.millijoules for m in measured}
    known: list[tuple[Quantity, Mapping[Pair, float | None]]] = [
        (FILE_SIZE, files),
        (PEAK_MEMORY, {pair: peak and peak / MB for pair, peak in peaks.items()}),
        (ENERGY, energies),
    ]
    return {
        quantity.name: _fitted(target, quantity, values)
        for quantity, values in known
        if values and None not in values.values()
    }


def _fitted(
    target: Target, quantity: Quantity, values: Mapping[Pair, float | None]
) -> LatencyPredictor:
    encoders, workloads = zip(*values, strict=True)
    found = [value for value in values.values() if value is not None]
    return LatencyPredictor(target.precision, quantity=quantity).fit(encoders, workloads, found)

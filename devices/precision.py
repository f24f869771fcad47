"""Precision: how an exported file holds its numbers, and what it is computed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Precision:
    """One precision, whichever runtime it is asked of.

    Attributes:
        computes: what a session says that it computes in where the device grants it.
        weight_bytes: that one weight of a matrix takes.
    """

    computes: str
    weight_bytes: int

    @property
    def quantised(self) -> bool:
        """Whether weights are integers with scales, which take calibration and cost accuracy."""
        return self.weight_bytes == 1


PRECISIONS: Mapping[str, Precision] = {
    "fp32": Precision("f32", 4),
    "fp16": Precision("f16", 2),
    "bf16": Precision("bf16", 2),
    "int8": Precision("int8", 1),
    "int8-static": Precision("int8", 1),
    "int8-reduced": Precision("int8", 1),
    "int8-bf16": Precision("int8-bf16", 1),
}
"""``int8`` is what each runtime does best without being told more. ``int8-static`` takes the scales of
activations from calibration instead of computing them in every run; ``int8-reduced`` has weights of 7
bits, whose products do not overflow the 16-bit sums of x86 processors without VNNI; in ``int8-bf16``
the rest is computed in bf16."""

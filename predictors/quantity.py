"""What of an encoder is predicted on a target: milliseconds, or what else a deployment has to keep to."""

from __future__ import annotations

from dataclasses import dataclass

OVERHEAD = ("constant", "attentions", "feed_forwards", "convolutions")
WORK = ("gemm", "scores", "softmax", "depthwise", "activations", "residual")


@dataclass(frozen=True)
class Quantity:
    """Something that grows with the sub-layers of an encoder.

    Attributes:
        name: as it is shown and kept. unit: of every value.
        causes: the additive columns of predictors.features that it can depend on; the others are none of
            it.
        cached: whether it depends on the regimes of the weights: on which caches hold them.
    """

    name: str
    unit: str
    causes: tuple[str, ...]
    cached: bool = False

    @property
    def stored(self) -> bool:
        """Whether it counts the tables as a file holds them, rather than the rows that a run reads."""
        return "tables" in self.causes


LATENCY = Quantity("latency", "ms", (*OVERHEAD, *WORK), cached=True)
ENERGY = Quantity("energy", "mJ", (*OVERHEAD, *WORK), cached=True)
FILE_SIZE = Quantity("file size", "MB", (*OVERHEAD, "weights", "tables"))
PEAK_MEMORY = Quantity(
    "peak memory", "MB", (*OVERHEAD, "softmax", "weights", "activations", "tables")
)
QUANTITIES = {q.name: q for q in (LATENCY, ENERGY, FILE_SIZE, PEAK_MEMORY)}

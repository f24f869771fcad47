"""Text embedding: a vector for each text, without labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deploy.kinds import Array
from deploy.kinds.of_texts import OfTexts
from devices.errors import UsageError


class TextEmbedding(OfTexts):
    """The mean cosine to the other model's vectors."""

    output = "embedding"

    def read_label(self, _cell: Any) -> None:
        """Nothing to compare a vector with but another model's."""
        raise ValueError("an embedding needs no --label")

    def name_labels(self, _labels: Sequence[Any]) -> tuple[str, ...]:
        return ()

    def number(self, _labels: Sequence[None], _names: Sequence[str]) -> Array:
        raise UsageError("An embedding has no labels.")

    def answer(self, outputs: Array, _note: None) -> Array:
        return outputs

    def scores(
        self,
        _answers: Sequence[Array],
        _truths: Sequence[Any],
        _names: Sequence[str],
    ) -> dict[str, float]:
        raise UsageError("An embedding has no labels to be scored against; give a reference.")

    def agreement(self, answers: Sequence[Array], reference: Sequence[Array]) -> dict[str, float]:
        one, two = np.stack(answers), np.stack(reference)
        norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(two, axis=-1)
        cosine = (one * two).sum(-1) / np.where(norms > 0, norms, 1.0)
        return {"cosine": float(cosine.mean()), "n": len(cosine)}

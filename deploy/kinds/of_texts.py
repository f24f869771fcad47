"""What kinds have in common whose label is one of a whole text, or pair of texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from deploy.examples import Examples
from deploy.kinds import Array, Encoded
from deploy.tokens import tokenise


class OfTexts(ABC):
    """Reads texts as they are, and gives every example one label, or row of labels."""

    def read_text(self, cell: Any) -> str:
        return str(cell)

    @abstractmethod
    def number(self, labels: Sequence[Any], names: Sequence[str]) -> Array:
        """Labels as they were read, to [n] or [n, labels]."""

    def encode(
        self, tokenizer: Any, examples: Examples, names: Sequence[str], max_length: int, _seed: int
    ) -> Encoded:
        labels = None if examples.labels is None else self.number(examples.labels, names)
        return Encoded(tokenise(tokenizer, examples.texts, max_length), labels, labels)

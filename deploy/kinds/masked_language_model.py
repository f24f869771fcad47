"""Masked language model: some tokens are hidden, and the model names them.

Source: Devlin et al. 2019 (arXiv 1810.04805) §3.1, with every chosen token replaced by the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deploy.examples import Examples
from deploy.kinds import IGNORED, Array, Encoded
from deploy.tokens import Tokens, tokenise
from devices.errors import ModelError

SHARE = 0.15


class MaskedLanguageModel:
    """The share of hidden tokens that are named."""

    output = "masked-language-model"

    def read_text(self, cell: Any) -> str:
        return str(cell)

    def read_label(self, _cell: Any) -> None:
        """The texts are their own labels."""
        raise ValueError("a masked language model needs no --label")

    def name_labels(self, _labels: Sequence[Any]) -> tuple[str, ...]:
        return ()

    def encode(
        self,
        tokenizer: Any,
        examples: Examples,
        _names: Sequence[str],
        max_length: int,
        seed: int,
    ) -> Encoded:
        if tokenizer.mask_token_id is None:
            raise ModelError(
                "The tokenizer has no mask token, which a masked language model needs."
            )
        tokens = tokenise(tokenizer, examples.texts, max_length)
        return hide(tokens, tokenizer.mask_token_id, {*tokenizer.all_special_ids}, seed)

    def answer(self, outputs: Array, note: list[int]) -> list[int]:
        return [int(token) for token in outputs[note].argmax(-1)]

    def scores(
        self,
        answers: Sequence[list[int]],
        truths: Sequence[list[int]],
        _names: Sequence[str],
    ) -> dict[str, float]:
        return {"masked_accuracy": _same(answers, truths), "n": len(truths)}

    def agreement(
        self, answers: Sequence[list[int]], reference: Sequence[list[int]]
    ) -> dict[str, float]:
        return {"agreement": _same(answers, reference), "n": len(answers)}


def hide(tokens: Tokens, mask: int, special: set[int], seed: int) -> Encoded:
    """Put ``mask`` in the place of some tokens, at least one of every text, always the same ones."""
    rng = np.random.default_rng(seed)
    ids, labels, truths, places = [], [], [], []
    for row in tokens.ids:
        candidates = [place for place, token in enumerate(row) if token not in special]
        count = min(len(candidates), max(1, round(SHARE * len(candidates))))
        chosen = sorted(int(place) for place in rng.permutation(candidates)[:count])
        ids.append([mask if place in {*chosen} else token for place, token in enumerate(row)])
        labels.append([row[i] if i in {*chosen} else IGNORED for i in range(len(row))])
        truths.append([row[place] for place in chosen])
        places.append(chosen)
    return Encoded(Tokens(ids, tokens.types), labels, truths, places)


def _same(answers: Sequence[list[int]], others: Sequence[list[int]]) -> float:
    pairs = [pair for a, b in zip(answers, others, strict=True) for pair in zip(a, b, strict=True)]
    return float(np.mean([one == two for one, two in pairs])) if pairs else 0.0

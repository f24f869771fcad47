"""What a masked language model learns from: words hidden anew in every batch (Liu et al. 2019, RoBERTa,
arXiv 1907.11692, §4.1), and more of them than where it is scored, as each tells something (Wettig et al.
2023, arXiv 2202.08005).
"""

from __future__ import annotations

import torch

from deploy.kinds import IGNORED
from deploy.task import Task
from deploy.tokens import load_tokenizer
from elastic.recipes.training import Batch

SHARE = 0.4  # of the tokens


class Hiding:
    """Hides other tokens of a batch than the task does, at random.

    Args:
        task: of kind masked-language-model.
    """

    def __init__(self, task: Task) -> None:
        tokenizer = load_tokenizer(task.tokenizer)
        self._mask = tokenizer.mask_token_id
        self._special = torch.tensor(sorted({*tokenizer.all_special_ids}))

    def __call__(self, batch: Batch) -> Batch:
        labels = batch["labels"]
        ids = torch.where(labels == IGNORED, batch["input_ids"], labels)
        open_to = ~torch.isin(ids, self._special.to(ids.device))
        drawn = torch.rand(ids.shape, device=ids.device).masked_fill(~open_to, 1.0)
        # The least of each text in any case, so that no batch is without.
        hidden = (drawn < SHARE) | (drawn == drawn.min(-1, keepdim=True).values)
        hidden &= open_to
        return {
            **batch,
            "input_ids": torch.where(hidden, self._mask, ids),
            "labels": torch.where(hidden, ids, IGNORED),
        }

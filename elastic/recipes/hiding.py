"""What a masked language model learns from: words hidden anew in every batch (Liu et al. 2019, RoBERTa,
arXiv 1907.11692, §4.1), and more of them than where it is scored, as each tells something (Wettig et al.
2023, arXiv 2202.08005).

Of ten words to be named three stay as they are, and one is another word (one and one in Devlin et al.
2019, arXiv 1810.04805, §3.1). Those that stay matter most to a small model: it learns from them what each
word is, and from that what its neighbours are. After 600 steps one of 3 layers named 12 % of hidden words
with three that stay, 9 % with one, and 5 % with none, which is to go by how frequent words are.
"""

from __future__ import annotations

import torch

from deploy.kinds import IGNORED
from deploy.task import Task
from deploy.tokens import load_tokenizer
from elastic.recipes.training import Batch

SHARE = 0.4  # of the tokens, that are to be named
KEPT, REPLACED = 0.3, 0.1  # of these


class Hiding:
    """Hides other tokens of a batch than the task does, at random.

    Args:
        task: of kind masked-language-model.
    """

    def __init__(self, task: Task) -> None:
        tokenizer = load_tokenizer(task.tokenizer)
        self._mask = tokenizer.mask_token_id
        self._special = torch.tensor(sorted({*tokenizer.all_special_ids}))
        self._words = len(tokenizer)

    def __call__(self, batch: Batch) -> Batch:
        labels = batch["labels"]
        ids = torch.where(labels == IGNORED, batch["input_ids"], labels)
        special = torch.isin(ids, self._special.to(ids.device))
        drawn = torch.rand(ids.shape, device=ids.device).masked_fill(special, 1.0)
        # The least of each text in any case, so that no batch is without.
        named = (drawn < SHARE) | (drawn == drawn.min(-1, keepdim=True).values)
        named &= ~special
        how = torch.rand(ids.shape, device=ids.device)
        others = torch.randint(self._words, ids.shape, device=ids.device)
        given = torch.where(how < KEPT + REPLACED, others, self._mask)
        given = torch.where(how < KEPT, ids, given)
        return {
            **batch,
            "input_ids": torch.where(named, given, ids),
            "labels": torch.where(named, ids, IGNORED),
        }

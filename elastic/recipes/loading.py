"""The batches of a training: of similar lengths, and of each a share for every process."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers.trainer_pt_utils import LengthGroupedSampler

from deploy.task import Split, Task
from elastic.recipes.processes import share_of


def train_loader(task: Task, batch_size: int, seed: int) -> DataLoader[dict[str, Tensor]]:
    """Of the train split; ``batch_size`` counts the examples of all processes."""
    from accelerate.data_loader import prepare_data_loader

    split = task.split("train")
    loader = DataLoader(
        _Numbers(len(split)),
        batch_size,
        sampler=_ByLength(batch_size, split.tokens.lengths.tolist(), seed),
        collate_fn=_Collator(split, task.pad_id),
        pin_memory=torch.cuda.is_available(),
    )
    # Every process goes through all batches, of which the collator takes its share: accelerate would
    # fill up the last one with examples that were seen already.
    prepared: DataLoader[dict[str, Tensor]] = prepare_data_loader(
        loader, num_processes=1, process_index=0
    )
    return prepared


class _Numbers(Dataset[int]):
    """The places of the examples; the collator makes the batch from them."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


class _Collator:
    def __init__(self, split: Split, pad_id: int) -> None:
        self.split, self.pad_id, self.lengths = split, pad_id, split.tokens.lengths

    def __call__(self, rows: list[int]) -> dict[str, Tensor]:
        # In a last batch with fewer examples than there are processes, some take one that others have.
        mine = share_of(rows) or rows[:1]
        arrays = self.split.tokens.padded(mine, self.pad_id)
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        batch["index"] = torch.tensor(mine)
        longer = self.lengths[mine].mean() / self.lengths[rows].mean()
        batch["weight"] = torch.full((len(mine),), len(rows) / len(mine), dtype=torch.float64)
        batch["tokens"] = torch.full((len(mine),), float(longer))
        if self.split.labels is not None:
            batch["labels"] = torch.from_numpy(self.split.labels_of(mine))
        return batch


class _ByLength(LengthGroupedSampler):
    """Shuffled batches of similar lengths, in an order that seed and epoch alone decide, so that an
    interrupted training goes on with exactly the batches that were still to come."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """The Trainer calls this before every epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()

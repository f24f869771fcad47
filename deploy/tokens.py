"""Texts to token ids, once, and token ids to padded batches."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from devices.errors import ModelError
from devices.runtimes import Arrays

TOKENIZER = "tokenizer.json"
TOKENIZER_FILES = (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


@dataclass(frozen=True)
class Tokens:
    """Token ids and token types of every example, as plain lists of different lengths."""

    ids: list[list[int]]
    types: list[list[int]]

    @cached_property
    def lengths(self) -> np.ndarray[Any, Any]:
        return np.array([len(ids) for ids in self.ids], dtype=np.int64)

    def padded(self, rows: Sequence[int] | np.ndarray[Any, Any], pad_id: int) -> Arrays:
        """The model's inputs for ``rows``: int64 [rows, longest of them], padded on the right."""
        shape = (len(rows), max(len(self.ids[row]) for row in rows))
        ids = np.full(shape, pad_id, dtype=np.int64)
        mask, types = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for line, row in enumerate(rows):
            length = len(self.ids[row])
            ids[line, :length] = self.ids[row]
            mask[line, :length] = 1
            types[line, :length] = self.types[row]
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def load_tokenizer(source: Path | str) -> Any:
    """The transformers fast tokenizer in a directory, or of a hub name.

    Raises ModelError where it cannot be loaded.
    """
    from transformers import AutoTokenizer, logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it warns of a config.json that is not of its own families
    local = isinstance(source, Path) or Path(source).exists()
    try:
        if local and not Path(source).is_dir():
            raise OSError("there is no such directory")
        loaded = AutoTokenizer.from_pretrained(str(source), use_fast=True, local_files_only=local)
        if set(loaded.get_vocab()) <= set(loaded.all_special_tokens):
            # What transformers makes of a config.json alone.
            raise OSError("it has no vocabulary")
        return loaded
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"Tokenizer {source} cannot be loaded ({reason}); expected a directory with "
            "tokenizer.json as transformers saves it, or a hub name."
        ) from error
    finally:
        logging.set_verbosity(verbosity)


def place_tokenizer(source: Path, directory: Path) -> None:
    """Put the tokenizer of ``source`` into ``directory``, in the form that run.py reads.

    Raises ModelError where there is none that has that form.
    """
    if (source / TOKENIZER).is_file():
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, directory / name)
        return
    load_tokenizer(source).save_pretrained(directory)  # from vocab.txt, as older checkpoints have
    if not (directory / TOKENIZER).is_file():
        raise ModelError(
            f"{source} holds no {TOKENIZER}, which run.py needs, and none can be made of what it "
            "holds; save its fast tokenizer there with transformers."
        )


def tokenise(tokenizer: Any, texts: Sequence[tuple[str, ...]], max_length: int) -> Tokens:
    """Tokens of single texts or pairs, special tokens included, cut at ``max_length``."""
    parts = [list(part) for part in zip(*texts, strict=True)]
    encoded = tokenizer(*parts, truncation=True, max_length=max_length, return_token_type_ids=True)
    return Tokens(encoded["input_ids"], encoded["token_type_ids"])

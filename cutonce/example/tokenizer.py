"""A WordPiece tokenizer trained on the spot, saved as an ordinary Hugging Face tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_tokenizer(
    texts: Iterable[str], vocabulary: int, directory: Path, max_length: int
) -> None:
    """Train a lower-casing BERT WordPiece of at most ``vocabulary`` entries and save it.

    The same texts give the same vocabulary.

    Source: Devlin et al. 2019 (arXiv 1810.04805) §3, as the tokenizers package builds it.
    """
    from tokenizers import BertWordPieceTokenizer
    from transformers import PreTrainedTokenizerFast

    known = list(texts)
    trainer = BertWordPieceTokenizer(lowercase=True)
    first = [*SPECIAL, *_letters(known, trainer.normalizer)]
    trainer.train_from_iterator(
        known, vocab_size=vocabulary, special_tokens=first, show_progress=False
    )
    # Anew from the vocabulary alone: the trainer's tokenizer would take the letters for special.
    pieces = BertWordPieceTokenizer(vocab=trainer.get_vocab(), lowercase=True)
    pad, unk, cls, sep, mask = SPECIAL
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pieces._tokenizer,
        model_max_length=max_length,
        padding_side="right",
        pad_token=pad,
        unk_token=unk,
        cls_token=cls,
        sep_token=sep,
        mask_token=mask,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    tokenizer.save_pretrained(directory)


def _letters(texts: Iterable[str], normalizer: Any) -> list[str]:
    """Every letter at the start and inside of a word, sorted.

    The trainer numbers the letters as a hash table happens to give them, and breaks ties between
    equally frequent pairs by these numbers. Numbered here, they are the same in every run.
    """
    letters = sorted({letter for text in texts for letter in normalizer.normalize_str(text)})
    letters = [letter for letter in letters if not letter.isspace()]
    return [*letters, *(f"##{letter}" for letter in letters)]

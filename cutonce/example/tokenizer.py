"""A WordPiece tokenizer trained on the spot, saved as an ordinary Hugging Face tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_tokenizer(
    texts: Iterable[str], vocabulary: int, directory: Path, max_length: int
) -> None:
    """Train a lower-casing BERT WordPiece of at most ``vocabulary`` entries and save it.

    Source: Devlin et al. 2019 (arXiv 1810.04805) §3, as the tokenizers package builds it.
    """
    from tokenizers import BertWordPieceTokenizer
    from transformers import PreTrainedTokenizerFast

    pieces = BertWordPieceTokenizer(lowercase=True)
    pieces.train_from_iterator(
        list(texts), vocab_size=vocabulary, special_tokens=list(SPECIAL), show_progress=False
    )
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

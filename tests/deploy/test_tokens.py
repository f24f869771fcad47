"""Placing a tokenizer where run.py reads it."""

from pathlib import Path

import pytest

from deploy.tokens import load_tokenizer, place_tokenizer
from devices.errors import ModelError


def test_a_placed_tokenizer_reads_the_same(tokenizer: Path, tmp_path: Path) -> None:
    place_tokenizer(tokenizer, tmp_path)
    text = "a truly great film"
    assert load_tokenizer(tmp_path)(text) == load_tokenizer(tokenizer)(text)


def test_an_old_vocabulary_becomes_a_tokenizer(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film"])
    )
    (old / "config.json").write_text('{"model_type": "bert"}')
    place_tokenizer(old, new)
    assert (new / "tokenizer.json").is_file()
    assert load_tokenizer(new)("film")["input_ids"] == [2, 5, 3]


def test_nothing_to_place(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="no vocabulary"):
        place_tokenizer(tmp_path, tmp_path / "new")

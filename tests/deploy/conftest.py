"""A small tokenizer, small tables and small encoders, all made on the spot."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deploy.architecture import Architecture, Attention, FeedForward
from deploy.encoder import Encoder
from deploy.exporters import export_variant

TEXT = "the a film play book song is was very not so truly good bad great poor fine dull warm cold"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a BERT tokenizer of 24 ids."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *TEXT.split()])}
    pieces = BertWordPieceTokenizer(vocab=vocabulary)
    directory = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(
        tokenizer_object=pieces._tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(directory)
    return directory


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as a TSV with the given header."""

    def write(
        rows: list[tuple[str, ...]],
        header: tuple[str, ...] = ("text", "label"),
        name: str = "d.tsv",
    ) -> Path:
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(
                file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n"
            ).writerows([header, *rows] if header else rows)
        return path

    return write


@pytest.fixture(scope="session")
def small() -> Architecture:
    """Uneven heads and widths, two attentions in a row where a sub-layer was dropped."""
    chain = (Attention(3, 8), Attention(1, 8), FeedForward(20))
    return Architecture(vocabulary=24, hidden=32, operators=chain, positions=32, labels=2)


@pytest.fixture(scope="session")
def encoder(small: Architecture) -> Encoder:
    return make_encoder(small)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder) -> Path:
    """Exports of ``encoder``; tests that add formats share the one ONNX graph."""
    directory = tmp_path_factory.mktemp("exports")
    export_variant(encoder, "onnxruntime", "fp32", directory)
    return directory


def make_encoder(architecture: Architecture, seed: int = 0) -> Encoder:
    """Random weights three times the usual size, so that every part of the graph shows."""
    torch.manual_seed(seed)
    built = Encoder(architecture, ("bad", "good") if architecture.labels == 2 else ())
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.ndim == 2:
                parameter *= 3
    return built.eval()

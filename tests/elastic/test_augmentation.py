"""Copies of training examples with words replaced."""

import pytest
import torch

from deploy.architecture import uniform
from deploy.encoder import Encoder
from deploy.tokens import load_tokenizer
from devices.errors import DataError, UsageError
from elastic.recipes.augmentation import Near, Pieces, Sources, Word, augmented, read_vectors

_PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] the good bad film play ##ing ##s"
PIECES = _PIECES.split()


@pytest.fixture(scope="module")
def pieces() -> Pieces:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    numbers = {word: i for i, word in enumerate(PIECES)}
    made = Tokenizer(models.WordPiece(vocab=numbers, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return Pieces(
        PreTrainedTokenizerFast(
            tokenizer_object=made,
            pad_token="[PAD]",
            unk_token="[UNK]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            mask_token="[MASK]",
        )
    )


def test_words_are_those_that_mean_something(pieces) -> None:
    ids = pieces.tokenizer("the good playings film")["input_ids"]
    assert [PIECES[i] for i in ids[3:6]] == ["play", "##ing", "##s"]
    assert list(pieces.words(ids)) == [Word(2, 3), Word(3, 6), Word(6, 7)]


def test_copies_differ_and_keep_their_labels_and_the_other_splits(task) -> None:
    sources = Sources(Pieces(load_tokenizer(task.tokenizer)), torch.randn(22, 8))
    more = augmented(task, sources, copies=3, seed=1)
    before, after = task.split("train"), more.split("train")
    assert 2 * len(before) < len(after) <= 4 * len(before)
    assert after.tokens.ids[: len(before)] == before.tokens.ids
    assert len({tuple(ids) for ids in after.tokens.ids[len(before) :]}) > len(before)
    assert len(after.labels) == len(after)
    counts = dict.fromkeys(range(2), 0)
    for row in range(len(before), len(after)):
        counts[int(after.labels[row])] += 1
    assert min(counts.values()) > len(before) / 2
    assert more.split("search") is task.split("search")
    again = augmented(task, sources, copies=3, seed=1).split("train")
    assert again.tokens.ids == after.tokens.ids


def test_without_anything_else_the_models_own_table_tells_what_is_alike(task) -> None:
    table = torch.eye(22)
    kept = Pieces(load_tokenizer(task.tokenizer))
    names = kept.tokenizer.convert_ids_to_tokens(range(22))
    apple, pear = names.index("apple"), names.index("pear")
    table[apple] = table[pear] + 0.1
    more = augmented(task, Sources(kept, table), copies=20, seed=0)
    assert Near(Sources(kept, table))(apple)[0] == [pear]
    assert len(more.split("train")) > len(task.split("train"))


def test_a_language_model_is_asked_with_the_word_masked_and_the_text_beside_it(task) -> None:
    kept = Pieces(load_tokenizer(task.tokenizer))
    kept.tokenizer.add_special_tokens({"mask_token": "[UNK]"})
    seen = []

    class Model(Encoder):
        def forward(self, input_ids, _mask, token_type_ids):
            seen.append((input_ids, token_type_ids))
            return torch.arange(22.0).expand(*input_ids.shape, 22)

    shape = uniform(1, 16, 2, 16, vocabulary=22, head="masked-language-model", positions=64)
    sources = Sources(kept, torch.eye(22), Model(shape))
    augmented(task, sources, copies=1)
    ids, types = seen[0]
    length = int((types[0] == 0).sum())
    assert int((ids[:, :length] == 1).sum()) == len(ids)
    assert types[0].tolist() == [0] * length + [1] * (length - 1)
    assert len(seen) == len(task.split("train"))


def test_vectors_replace_words_of_several_pieces(pieces, tmp_path) -> None:
    from elastic.recipes.augmentation import _nearest_words

    file = tmp_path / "vectors.txt"
    file.write_text("4 2\nplaying 1 0\nfilm 0.9 0.1\ngood 0 1\nbad -1 0\n")
    found = Sources(pieces, torch.eye(12), vectors=read_vectors(file))
    best = _nearest_words("playing", found)
    assert best == [[8], [6], [7]]
    assert _nearest_words("unheard", found) == []


def test_what_is_no_file_of_vectors_is_named(tmp_path) -> None:
    file = tmp_path / "vectors.txt"
    file.write_text("a b c d\n")
    with pytest.raises(DataError, match=r"vectors\.txt holds no word vectors"):
        read_vectors(file)


def test_no_copies_are_refused(task) -> None:
    with pytest.raises(UsageError, match="at least 1 copy"):
        augmented(task, Sources(Pieces(load_tokenizer(task.tokenizer)), torch.eye(22)), copies=0)

"""Words hidden anew in every batch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from deploy.kinds import IGNORED
from elastic.recipes import hiding
from elastic.recipes.hiding import KEPT, REPLACED, SHARE, Hiding

PADDING, BEGIN, END, MASK = 0, 1, 2, 3
WORDS = 2000


@pytest.fixture
def hide(monkeypatch) -> Hiding:
    class Tokenizer:
        mask_token_id, all_special_ids = MASK, (PADDING, BEGIN, END, MASK)

        def __len__(self) -> int:
            return 50

    torch.manual_seed(0)
    monkeypatch.setattr(hiding, "load_tokenizer", lambda _: Tokenizer())
    return Hiding(SimpleNamespace(tokenizer=None))


def batch() -> dict[str, torch.Tensor]:
    """Two texts, a long one and one of a word, whose second word and whose one word are hidden."""
    long = torch.randint(4, 50, (WORDS,))
    ids = torch.full((2, WORDS + 2), PADDING)
    ids[0] = torch.cat([torch.tensor([BEGIN]), long, torch.tensor([END])])
    ids[1, :3] = torch.tensor([BEGIN, 7, END])
    labels = torch.full((2, WORDS + 2), IGNORED)
    for row, place in ((0, 2), (1, 1)):
        labels[row, place] = ids[row, place]
        ids[row, place] = MASK
    return {"input_ids": ids, "labels": labels, "attention_mask": (ids != PADDING).long()}


def test_what_is_to_be_named_is_its_own_label_and_the_rest_is_as_it_was(hide) -> None:
    given = batch()
    found = hide(given)
    whole = torch.where(given["labels"] == IGNORED, given["input_ids"], given["labels"])
    named = found["labels"] != IGNORED
    assert found["labels"][named].equal(whole[named])
    assert found["input_ids"][~named].equal(whole[~named])
    assert not torch.isin(whole[named], torch.tensor([PADDING, BEGIN, END])).any()
    assert float(named[0].sum()) / WORDS == pytest.approx(SHARE, abs=0.05)
    assert named[1].nonzero().flatten().tolist() == [1]  # the one word there is
    assert found["attention_mask"] is given["attention_mask"]


def test_most_is_hidden_a_part_stays_and_a_part_is_replaced(hide) -> None:
    given = batch()
    found = hide(given)
    named = found["labels"] != IGNORED
    shown, truth = found["input_ids"][named], found["labels"][named]
    shares = [(shown == MASK), (shown == truth), (shown != MASK) & (shown != truth)]
    expected = [1 - KEPT - REPLACED, KEPT, REPLACED]
    for share, wanted in zip(shares, expected, strict=True):
        assert float(share.float().mean()) == pytest.approx(wanted, abs=0.04)


def test_other_words_are_hidden_every_time(hide) -> None:
    given = batch()
    assert not hide(given)["labels"].equal(hide(given)["labels"])

"""Words hidden anew in every batch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from deploy.kinds import IGNORED
from elastic.recipes import hiding
from elastic.recipes.hiding import SHARE, Hiding

PADDING, BEGIN, END, MASK = 0, 1, 2, 3


@pytest.fixture
def hide(monkeypatch) -> Hiding:
    tokenizer = SimpleNamespace(mask_token_id=MASK, all_special_ids=[PADDING, BEGIN, END, MASK])
    torch.manual_seed(0)
    monkeypatch.setattr(hiding, "load_tokenizer", lambda _: tokenizer)
    return Hiding(SimpleNamespace(tokenizer=None))


def batch() -> dict[str, torch.Tensor]:
    """Two texts, of 200 words and of one, whose second word and whose one word are hidden."""
    long = torch.randint(4, 50, (200,))
    ids = torch.full((2, 202), PADDING)
    ids[0] = torch.cat([torch.tensor([BEGIN]), long, torch.tensor([END])])
    ids[1, :3] = torch.tensor([BEGIN, 7, END])
    labels = torch.full((2, 202), IGNORED)
    for row, place in ((0, 2), (1, 1)):
        labels[row, place] = ids[row, place]
        ids[row, place] = MASK
    return {"input_ids": ids, "labels": labels, "attention_mask": (ids != PADDING).long()}


def test_what_is_hidden_is_its_own_label_and_the_rest_is_as_it_was(hide) -> None:
    given = batch()
    found = hide(given)
    whole = torch.where(given["labels"] == IGNORED, given["input_ids"], given["labels"])
    hidden = found["labels"] != IGNORED
    assert found["labels"][hidden].equal(whole[hidden])
    assert (found["input_ids"][hidden] == MASK).all()
    assert found["input_ids"][~hidden].equal(whole[~hidden])
    assert not torch.isin(whole[hidden], torch.tensor([PADDING, BEGIN, END])).any()
    assert float(hidden[0].sum()) / 200 == pytest.approx(SHARE, abs=0.1)
    assert hidden[1].tolist() == [False, True] + [False] * 200  # the one word there is
    assert found["attention_mask"] is given["attention_mask"]


def test_other_words_are_hidden_every_time(hide) -> None:
    given = batch()
    assert not hide(given)["labels"].equal(hide(given)["labels"])

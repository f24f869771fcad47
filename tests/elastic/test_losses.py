import math

import pytest

from elastic.search.losses import kept


@pytest.fixture
def joint():
    asked = []

    def measured(choice, every):
        asked.append((choice, every))
        return sum(choice) / every / 3

    measured.asked = asked
    return measured


def test_what_was_evaluated_is_not_evaluated_again(tmp_path, joint) -> None:
    path = tmp_path / "work" / "losses.jsonl"
    first = kept(joint, path)
    values = [first((1, 2), 1), first((1, 2), 4), first((0, 2), 1)]
    again = kept(joint, path)
    assert [again((1, 2), 1), again((1, 2), 4), again((0, 2), 1)] == values
    assert joint.asked == [((1, 2), 1), ((1, 2), 4), ((0, 2), 1)]


def test_a_line_cut_short_is_evaluated_again(tmp_path, joint) -> None:
    path = tmp_path / "losses.jsonl"
    first = kept(joint, path)
    first((1, 2), 1), first((0, 1), 1)
    path.write_text(path.read_text()[:-6])
    for _ in range(2):
        assert kept(joint, path)((0, 1), 1) == 1 / 3
    assert joint.asked[2:] == [((0, 1), 1)]
    assert len(path.read_text().splitlines()) == 2


def test_an_evaluation_that_fails_is_not_a_number_and_not_tried_again(tmp_path, caplog) -> None:
    tried = []

    def joint(choice, _every):
        tried.append(choice)
        raise RuntimeError("out of memory")

    path = tmp_path / "losses.jsonl"
    for _ in range(2):
        assert math.isnan(kept(joint, path)((1, 2), 4))
    assert tried == [(1, 2)]
    assert "out of memory" in caplog.text

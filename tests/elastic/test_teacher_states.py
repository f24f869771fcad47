"""The teacher's states are computed once for every text, and are what it would say again."""

import numpy as np
import pytest
import torch

from deploy.encoder import Encoder
from devices.runtimes import INPUTS
from elastic.recipes import teacher_states
from elastic.recipes.supernet import distance
from elastic.recipes.teacher_states import TeacherStates
from elastic.recipes.training import Batch
from elastic.views import Seeing

ROUNDED = {"atol": 2e-3, "rtol": 1e-3}  # half precision has 11 bits


@pytest.fixture
def teacher(make_encoder) -> Encoder:
    return make_encoder(labels=2)


@pytest.fixture
def passed(teacher) -> list[int]:
    """How many texts each call of the teacher had."""
    found: list[int] = []
    teacher.operators[0].register_forward_hook(lambda *call: found.append(len(call[-1])))
    return found


@pytest.fixture
def make_states(teacher, task, tmp_path):
    return lambda: TeacherStates(teacher, task.split("train").tokens.lengths, 2, tmp_path / "work")


def batch_of(task, rows) -> Batch:
    arrays = task.split("train").tokens.padded(rows, task.pad_id)
    return {
        "index": torch.tensor(rows),
        **{name: torch.from_numpy(arrays[name]) for name in INPUTS},
    }


def test_kept_states_are_what_the_teacher_says_to_half_precision(
    make_states, teacher, task
) -> None:
    states = make_states()
    first, other = batch_of(task, [7, 3, 20]), batch_of(task, [3, 41, 7, 5])
    states(first)
    found, mask = states(other), other["attention_mask"]
    with torch.inference_mode():
        seen = Seeing(teacher)({name: other[name] for name in INPUTS})
    for kept, said in zip(found, seen.states[::2], strict=True):
        real = mask.bool()
        torch.testing.assert_close(kept[real], said[real], **ROUNDED)
        student = said + torch.randn_like(said)
        wanted = distance(student, said, mask)
        torch.testing.assert_close(distance(student, kept, mask), wanted, rtol=2e-3, atol=0)
    torch.testing.assert_close(states.outputs(other), seen.outputs, atol=1e-2, rtol=1e-2)


def test_every_text_passes_the_teacher_once_in_all_epochs(make_states, passed, task) -> None:
    states, count = make_states(), len(task.split("train"))
    rng = np.random.default_rng(0)
    for _ in range(3):
        order = rng.permutation(count)
        for start in range(0, count, 32):
            states(batch_of(task, order[start : start + 32].tolist()))
    assert sum(passed) == count


def test_beyond_the_disk_texts_pass_again_with_the_same_result(
    make_states, passed, task, monkeypatch
) -> None:
    batch = batch_of(task, [0, 4, 2])
    whole = make_states()(batch)
    monkeypatch.setattr(teacher_states, "ROOM", 0)
    none = make_states()
    for _ in range(2):
        assert none(batch).equal(whole)
    assert passed == [3, 3, 3]


def test_what_was_kept_is_gone_with_it(make_states, task, tmp_path) -> None:
    states = make_states()
    states(batch_of(task, [0, 1]))
    file = states._file
    assert not file.closed
    del states
    assert file.closed
    assert not list((tmp_path / "work").iterdir())

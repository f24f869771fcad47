import pytest
import torch

from devices.errors import UsageError
from elastic.elastic_encoder import ElasticEncoder
from elastic.recipes.distil import Lesson, distil
from elastic.tensors import tensors


@pytest.fixture
def cut(make_encoder):
    """A teacher of ``labels`` outputs and a student without its last feed-forward."""

    def make(labels: int):
        teacher = make_encoder(labels)
        return teacher, ElasticEncoder(teacher).extract((*teacher.architecture.operators[:3], None))

    return make


def distance(teacher, student, task) -> float:
    total = 0.0
    with torch.inference_mode():
        for batch in task.batches("report"):
            inputs = tensors(batch, teacher)
            total += float((teacher(**inputs) - student(**inputs)).square().sum())
    return total


@pytest.mark.parametrize(("labels", "column"), [(2, "label"), (2, None), (1, None), (0, None)])
def test_the_student_comes_closer_with_or_without_labels(cut, make_task, labels, column) -> None:
    teacher, student = cut(labels)
    task = make_task(label=column)
    before = distance(teacher, student, task)
    assert distil(student, Lesson(teacher, task), epochs=3, seed=0, learning_rate=1e-3)
    assert distance(teacher, student, task) < 0.6 * before


def test_a_student_that_becomes_no_better_is_left_as_it_was(cut, task) -> None:
    teacher, student = cut(2)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    lesson = Lesson(teacher, task)
    apart = lesson.quality(student).apart
    assert not distil(student, lesson, epochs=1, learning_rate=10.0)
    assert lesson.quality(student).apart == apart
    assert all(tensor.equal(before[name]) for name, tensor in student.state_dict().items())


def test_the_teacher_is_left_as_it_was(cut, task) -> None:
    teacher, student = cut(2)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    distil(student, Lesson(teacher, task), epochs=0.2)
    assert not teacher.training
    assert all(tensor.equal(before[name]) for name, tensor in teacher.state_dict().items())


def test_a_student_of_another_model_is_refused(cut, task) -> None:
    teacher, _ = cut(2)
    _, student = cut(3)
    with pytest.raises(UsageError, match="cannot follow"):
        distil(student, Lesson(teacher, task))

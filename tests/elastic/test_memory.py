import pytest

from deploy.architecture import uniform
from devices.errors import UsageError
from elastic.recipes import memory
from elastic.recipes.memory import check_room

SHAPE = uniform(12, 768, 12, 3072, labels=2)


def test_what_fits_passes() -> None:
    check_room(uniform(1, 16, 2, 32, vocabulary=20), 8, 16)


def test_the_batch_that_fits_is_said_and_fits(monkeypatch) -> None:
    monkeypatch.setattr(memory, "_free", lambda: 6 * 2**30)
    with pytest.raises(UsageError, match=r"--batch-size (\d+) fits") as error:
        check_room(SHAPE, 512, 128)
    most = int(str(error.value).split("--batch-size ")[1].split()[0])
    assert 0 < most < 512
    check_room(SHAPE, most, 128)
    with pytest.raises(UsageError):
        check_room(SHAPE, most + 1, 128)


def test_where_nothing_fits_that_is_said(monkeypatch) -> None:
    monkeypatch.setattr(memory, "_free", lambda: 2**30)
    with pytest.raises(UsageError, match="not even one text"):
        check_room(SHAPE, 1, 128)

import pytest

from deploy.architecture import uniform
from deploy.workload import Workload
from devices.errors import UnknownName, UsageError
from devices.target import Target
from elastic.search.budget import Budget, bounded
from profiler.measurement import Measurement
from profiler.visit import Visit

VISITS = tuple(Visit(float(i), (2.0, 2.5, 4.0)) for i in range(9))


@pytest.fixture
def measurement() -> Measurement:
    target = Target("fake", "fake", "fp32", 2)
    return Measurement("c", target, "f", uniform(1, 8, 2, 8), Workload(), "f32", VISITS)


def test_milliseconds() -> None:
    budget = Budget.parse("fake/fake/fp32@1=4.5ms")
    assert (budget.target.threads, budget.first.value, budget.first.relative) == (1, 4.5, False)
    assert budget.first.bound == "intrinsic"
    assert budget.name == "fake-fake-fp32-t1-4.5ms"


def test_a_fraction_of_the_dense_model() -> None:
    budget = Budget.parse("fake/fake/fp32=.5x")
    assert budget.first.limit(2.0) == pytest.approx(1.0)
    assert budget.name == "fake-fake-fp32-t2-0.5x"


def test_the_contended_percentile(measurement: Measurement) -> None:
    budget = Budget.parse("fake/fake/fp32=3ms:p90")
    assert bounded(measurement, budget.first.bound) == pytest.approx(4.0)
    assert budget.first.limit(2.0) == 3
    assert budget.name.endswith("-p90")


def test_further_limits_of_the_same_network() -> None:
    budget = Budget.parse("fake/fake/fp32=4ms,20MB,150.5MB:memory,fake/fake/int8@1=0.5x:p90")
    assert [c.text for c in budget.constraints] == [
        "fake/fake/fp32@2=4ms",
        "fake/fake/fp32@2=20MB:file",
        "fake/fake/fp32@2=150.5MB:memory",
        "fake/fake/int8@1=0.5x:p90",
    ]
    assert [c.unit for c in budget.constraints] == ["ms", "MB", "MB", "ms"]
    assert (
        budget.name == "fake-fake-fp32-t2-4ms-20MB-file-150.5MB-memory-fake-fake-int8-t1-0.5x-p90"
    )


def test_a_limit_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="bounds the file of fake/fake/fp32@2 twice"):
        Budget.parse("fake/fake/fp32=4ms,20MB,30MB:file")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fake/fake/fp32",
        "fake/fake/fp32=",
        "fake/fake/fp32=4",
        "fake/fake/fp32=4s",
        "fake/fake/fp32=-1ms",
        "fake/fake/fp32=0ms",
        "fake/fake/fp32=4ms:p95",
        "=4ms",
        "4ms",
        "fake/fake/fp32=20MB",
        "fake/fake/fp32=4ms,",
        "fake/fake/fp32=4ms,20",
        "fake/fake/fp32=4ms,20MB:p90",
        "fake/fake/fp32=4ms:file",
        "fake/fake/fp32=4ms,0MB",
    ],
)
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(UsageError):
        Budget.parse(text)


def test_an_unknown_precision_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="'fp32'"):
        Budget.parse("local/onnxruntime/fp23=4ms")

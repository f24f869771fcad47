"""What every latency predictor must do, whatever its model."""

import json

import numpy as np
import pytest

from deploy.architecture import Architecture, Attention, FeedForward, uniform
from deploy.workload import Workload
from devices.errors import UsageError
from predictors.predictor import LatencyPredictor

WORKLOAD = Workload(1, 32)
PREDICTORS = {
    "fp32": lambda: LatencyPredictor("fp32"),
    "int8": lambda: LatencyPredictor("int8"),
    "narrow": lambda: LatencyPredictor("fp32", coverage=0.5),
}


def encoders(seed: int, n: int) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    base = Architecture(1000, 128, ())
    return [
        base.with_operators(
            op
            for _ in range(rng.integers(1, 5))
            for op in (
                Attention(int(rng.integers(1, 5)), 32),
                FeedForward(int(rng.integers(16, 513))),
            )
        )
        for _ in range(n)
    ]


def milliseconds(architectures: list[Architecture]) -> list[float]:
    """A law that any sensible model can learn."""

    def price(op: Attention | FeedForward) -> float:
        return 0.02 + (0.05 * op.heads if isinstance(op, Attention) else 0.0004 * op.width)

    return [0.1 + sum(map(price, architecture.operators)) for architecture in architectures]


@pytest.fixture(params=PREDICTORS)
def blank(request):
    return PREDICTORS[request.param]()


@pytest.fixture
def fitted(blank):
    training = encoders(0, 16)
    return blank.fit(training, [WORKLOAD] * 16, milliseconds(training))


def test_fit_returns_the_predictor(blank) -> None:
    training = encoders(0, 8)
    assert blank.fit(training, [WORKLOAD] * 8, milliseconds(training)) is blank


def test_learns_a_simple_law(fitted) -> None:
    asked = encoders(1, 30)
    errors = fitted.predict(asked, [WORKLOAD] * 30) / milliseconds(asked) - 1
    assert np.abs(errors).mean() < 0.02


def test_same_data_same_predictor(blank) -> None:
    training = encoders(0, 10)
    first = blank.fit(training, [WORKLOAD] * 10, milliseconds(training)).to_json()
    assert blank.fit(training, [WORKLOAD] * 10, milliseconds(training)).to_json() == first


def test_predictions_are_positive_and_intervals_hold_them(fitted) -> None:
    asked = [*encoders(2, 20), Architecture(1000, 128, ()), uniform(12, 768, 12, 3072)]
    workloads = [WORKLOAD] * len(asked)
    ms = fitted.predict(asked, workloads)
    lower, upper = fitted.predict_interval(asked, workloads)
    assert ms.shape == lower.shape == upper.shape == (len(asked),)
    assert np.isfinite(ms).all()
    assert (lower > 0).all()
    assert ((lower <= ms) & (ms <= upper)).all()


def test_nothing_asked_nothing_answered(fitted) -> None:
    assert fitted.predict([], []).shape == (0,)
    assert fitted.in_domain([], []).shape == (0,)


def test_training_encoders_are_in_domain_and_giants_are_not(fitted) -> None:
    training = encoders(0, 16)
    assert fitted.in_domain(training, [WORKLOAD] * 16).all()
    assert not fitted.in_domain([uniform(12, 768, 12, 3072)], [WORKLOAD]).any()


def test_json_round_trip_predicts_identically(fitted) -> None:
    again = type(fitted).from_json(json.loads(json.dumps(fitted.to_json())))
    asked, workloads = encoders(3, 10), [WORKLOAD] * 10
    assert (again.predict(asked, workloads) == fitted.predict(asked, workloads)).all()
    for ours, theirs in zip(
        again.predict_interval(asked, workloads),
        fitted.predict_interval(asked, workloads),
        strict=True,
    ):
        assert (ours == theirs).all()
    assert (again.in_domain(asked, workloads) == fitted.in_domain(asked, workloads)).all()
    assert again.to_json() == fitted.to_json()
    assert again.loo == fitted.loo


def test_unknown_schema_and_other_json_are_refused(fitted) -> None:
    with pytest.raises(UsageError, match="schema 99"):
        type(fitted).from_json({**fitted.to_json(), "schema": 99})
    for nonsense in ({}, [], None):
        with pytest.raises(UsageError, match="not a latency predictor"):
            type(fitted).from_json(nonsense)


def test_loo_holds_what_was_measured(fitted) -> None:
    assert [row.measured for row in fitted.loo] == milliseconds(encoders(0, 16))
    assert fitted.error < 0.02


@pytest.mark.parametrize(
    "use",
    [
        lambda p: p.predict([], []),
        lambda p: p.predict_interval([], []),
        lambda p: p.in_domain([], []),
        lambda p: p.shares(uniform(1, 128, 2, 64), WORKLOAD),
        lambda p: p.table(uniform(1, 128, 2, 64), [], WORKLOAD),
        lambda p: p.calibrated(1.1),
        lambda p: p.to_json(),
        lambda p: p.loo,
        lambda p: p.error,
    ],
)
def test_use_before_fit_is_refused(blank, use) -> None:
    with pytest.raises(UsageError, match="not fitted"):
        use(blank)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_latencies_are_refused(blank, bad: float) -> None:
    training = encoders(0, 6)
    with pytest.raises(UsageError, match="positive number"):
        blank.fit(training, [WORKLOAD] * 6, [*milliseconds(training)[:5], bad])


def test_too_few_rows_and_uneven_rows_are_refused(blank, fitted) -> None:
    training = encoders(0, 6)
    ms = milliseconds(training)
    with pytest.raises(UsageError, match="at least 4"):
        blank.fit(training[:3], [WORKLOAD] * 3, ms[:3])
    with pytest.raises(UsageError, match="5 measured values"):
        blank.fit(training, [WORKLOAD] * 6, ms[:5])
    with pytest.raises(UsageError, match="5 workloads"):
        blank.fit(training, [WORKLOAD] * 5, ms)
    with pytest.raises(UsageError, match="1 workloads"):
        fitted.predict(training, [WORKLOAD])

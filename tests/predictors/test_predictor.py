import functools
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.architecture import Architecture, Attention, FeedForward, uniform
from deploy.workload import Workload
from devices.errors import UsageError
from predictors.features import ADDITIVE
from predictors.planning import plan
from predictors.predictor import LatencyPredictor

WORKLOAD = Workload(1, 64)


@pytest.fixture(scope="module")
def fit(device, encoders):
    """``fit(seed)``: a predictor of 14 planned encoders, its device, and what was held out."""

    @functools.cache
    def make(seed: int, n: int = 14):
        pool, machine = encoders(seed, 200), device(seed)
        chosen = plan(pool, WORKLOAD, n, "fp32", seed)
        training = [pool[i] for i in chosen]
        ms = machine.measure(training, [WORKLOAD] * n)
        held_out = [a for i, a in enumerate(pool) if i not in chosen]
        return LatencyPredictor().fit(training, [WORKLOAD] * n, ms), machine, held_out

    return make


@pytest.fixture(scope="module")
def fitted(fit):
    return fit(5)[0]


def test_fourteen_encoders_predict_the_others(fit) -> None:
    errors, covered = [], []
    for seed in range(8):
        predictor, machine, held_out = fit(seed)
        workloads = [WORKLOAD] * len(held_out)
        exact = np.array([machine.exact(a, WORKLOAD) for a in held_out])
        errors.append(np.abs(predictor.predict(held_out, workloads) / exact - 1).mean())
        lower, upper = predictor.predict_interval(held_out, workloads)
        measured = np.array(machine.measure(held_out, workloads))
        covered.append(((lower <= measured) & (measured <= upper)).mean())
    assert max(errors) < 0.03
    assert np.mean(errors) < 0.02
    assert np.mean(covered) > 0.8


def test_where_launches_bound_only_depth_helps(device, encoders) -> None:
    """As on a GPU, where a short text's products end before the next kernel is launched."""
    machine = device(3)
    machine.macs_per_ms = machine.bytes_per_ms = 1e10
    machine.per_layer_ms, machine.constant_ms = 1.0, 1.0
    pool = encoders(3, 120)
    training = [pool[i] for i in plan(pool, WORKLOAD, 14, "fp32", 3)]
    workloads = [WORKLOAD] * len(training)
    predictor = LatencyPredictor().fit(training, workloads, machine.measure(training, workloads))
    shapes = [uniform(6, 384, 6, 1536), uniform(6, 384, 3, 768), uniform(3, 384, 6, 1536)]
    dense, narrow, shallow = predictor.predict(shapes, [WORKLOAD] * 3)
    exact = [machine.exact(shape, WORKLOAD) for shape in shapes]
    assert exact[1] > 0.98 * exact[0]
    assert narrow > 0.97 * dense
    assert shallow == pytest.approx(exact[2] / exact[0] * dense, rel=0.05)


def test_residual_and_layer_norm_cost_other_than_what_lies_between(encoders) -> None:
    """As in onnxruntime on one thread, where a normalised element costs fourteen times as much."""
    pool = encoders(7, 120)

    def took(a: Architecture) -> float:
        inner = sum(
            4 * op.heads * op.head_dim if isinstance(op, Attention) else 2 * op.width
            for op in a.operators
        )
        normed = (len(a.operators) + 2 / 3) * a.hidden  # and once after the embedding
        return 0.05 + WORKLOAD.tokens * (5e-7 * inner + 1e-5 * normed + 1e-8 * a.hidden * inner)

    chosen = plan(pool, WORKLOAD, 16, "fp32", 0)
    known = [pool[i] for i in chosen]
    predictor = LatencyPredictor().fit(known, [WORKLOAD] * 16, [*map(took, known)])
    exact = np.array([*map(took, pool)])
    assert np.abs(predictor.predict(pool, [WORKLOAD] * len(pool)) / exact - 1).max() < 0.03


def test_error_is_an_honest_guess_of_the_held_out_error(fit) -> None:
    predictor, machine, held_out = fit(3)
    exact = np.array([machine.exact(a, WORKLOAD) for a in held_out])
    predicted = predictor.predict(held_out, [WORKLOAD] * len(held_out))
    true = np.median(np.abs(predicted / exact - 1))
    assert 0.3 * true < predictor.error < 5 * true


@given(
    heads=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    width=st.integers(1, 2047),
    more=st.integers(1, 600),
    hidden=st.sampled_from([128, 320, 512]),
)
@settings(max_examples=60, deadline=None)
def test_prediction_never_falls_when_an_encoder_grows(fitted, heads, width, more, hidden) -> None:
    base = Architecture(1024, hidden, ())
    chain = [Attention(h, 64) for h in heads] + [FeedForward(width)]
    wider = [*chain[:-1], FeedForward(width + more)]
    headier = [Attention(heads[0] + 1, 64), *chain[1:]]
    pool = [base.with_operators(c) for c in (chain, wider, headier)]
    small, wide, heady = fitted.predict(pool, [WORKLOAD] * 3)
    assert wide >= small
    assert heady >= small


def test_domain_ends_where_measurement_did(fit) -> None:
    predictor, _, held_out = fit(0)
    assert predictor.in_domain(held_out, [WORKLOAD] * len(held_out)).mean() > 0.9
    inside = uniform(4, 384, 6, 1024)
    asked = [
        (inside, WORKLOAD),
        (inside, Workload(1, 128)),  # a length that was not measured
        (inside, Workload(2, 64)),  # a batch that was not measured
        (uniform(4, 768, 12, 1024), WORKLOAD),  # wider than all measured
        (uniform(40, 512, 8, 2048), WORKLOAD),  # of measured width, but far deeper
    ]
    known = predictor.in_domain(*map(list, zip(*asked, strict=True)))
    assert known.tolist() == [True, False, False, False, False]


def test_shares_sum_to_the_prediction_with_regimes_too(fit) -> None:
    several = [fit(seed)[0] for seed in range(6)]
    assert any(p.model.law.coefficients[ADDITIVE:].any() for p in several)
    for predictor in several:
        architecture = uniform(5, 512, 8, 2048, labels=2)
        shares = predictor.shares(architecture, WORKLOAD)
        assert [kind for kind, _ in shares] == [
            "embedding and constant",
            *["attention", "feed_forward"] * 5,
            "head",
        ]
        total = predictor.predict([architecture], [WORKLOAD])[0]
        assert sum(ms for _, ms in shares) == pytest.approx(total)
        assert min(ms for _, ms in shares) >= 0


def test_table_predicts_as_the_predictor_does(fitted) -> None:
    base = uniform(2, 256, 4, 1024)
    choices = [[op, None] for op in base.operators]
    table = fitted.table(base, choices, WORKLOAD)
    for picked in ((0, 0, 0, 0), (0, 1, 1, 0)):
        chain = [position[c] for position, c in zip(choices, picked, strict=True)]
        architecture = base.with_operators(chain)
        lower, upper = fitted.predict_interval([architecture], [WORKLOAD])
        ms = fitted.predict([architecture], [WORKLOAD])
        assert table.predict(picked) == pytest.approx((lower[0], ms[0], upper[0]))


def test_calibration_scales_everything_but_the_evidence(fitted) -> None:
    slower = fitted.calibrated(1.5).calibrated(2.0)
    encoder, workload = [uniform(3, 256, 4, 512)], [WORKLOAD]
    assert slower.predict(encoder, workload) == pytest.approx(3 * fitted.predict(encoder, workload))
    for ours, before in zip(
        slower.predict_interval(encoder, workload),
        fitted.predict_interval(encoder, workload),
        strict=True,
    ):
        assert ours == pytest.approx(3 * before)
    assert slower.in_domain(encoder, workload) == fitted.in_domain(encoder, workload)
    assert slower.loo == fitted.loo
    with pytest.raises(UsageError, match="positive"):
        fitted.calibrated(0.0)


def test_loo_rows_name_their_encoders(fitted) -> None:
    assert len(fitted.loo) == 14
    row = fitted.loo[0].to_json()
    assert set(row) == {"label", "measured", "predicted"}
    assert row["label"].startswith("H")


def test_several_workloads_in_one_fit(device, encoders) -> None:
    pool, machine = encoders(7, 200), device(7)
    workloads = [Workload(1, (16, 32, 64, 128)[i % 4]) for i in range(200)]
    chosen = plan(pool, workloads, 20, "fp32", 0)
    training, loads = [pool[i] for i in chosen], [workloads[i] for i in chosen]
    predictor = LatencyPredictor().fit(training, loads, machine.measure(training, loads))
    exact = np.array([machine.exact(a, w) for a, w in zip(pool, workloads, strict=True)])
    assert np.abs(predictor.predict(pool, workloads) / exact - 1).mean() < 0.05
    assert predictor.in_domain([uniform(4, 256, 4, 512)], [Workload(1, 48)]).all()


def test_prediction_loads_in_a_fresh_process_with_numpy_alone(fitted, tmp_path) -> None:
    path = tmp_path / "predictor.json"
    path.write_text(json.dumps(fitted.to_json()))
    program = """
        import json, sys
        from deploy.architecture import uniform
        from deploy.workload import Workload
        import predictors.planning
        from predictors.predictor import LatencyPredictor
        predictor = LatencyPredictor.from_json(json.load(open(sys.argv[1])))
        asked = [uniform(3, 256, 4, 512)], [Workload(1, 64)]
        values = [predictor.predict(*asked), *predictor.predict_interval(*asked)]
        heavy = sorted({"torch", "scipy", "sklearn", "pandas", "onnxruntime"} & set(sys.modules))
        print(json.dumps([[float(v[0]) for v in values], heavy]))
    """
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    values, heavy = json.loads(answer.stdout)
    encoder = [uniform(3, 256, 4, 512)]
    ours = fitted.predict(encoder, [WORKLOAD]), *fitted.predict_interval(encoder, [WORKLOAD])
    assert values == [float(v[0]) for v in ours]
    assert heavy == []


@pytest.mark.parametrize(
    "damage",
    [
        {"coefficients": {}},
        {"training": None},
        {"tile": "wide"},
        {"precision": "int7"},
        {"coverage": 2},
    ],
)
def test_damaged_json_is_refused(fitted, damage) -> None:
    with pytest.raises(UsageError):
        LatencyPredictor.from_json({**fitted.to_json(), **damage})


def test_negative_coefficients_are_refused(fitted) -> None:
    data = fitted.to_json()
    data["coefficients"] = {**data["coefficients"], "gemm": -1.0}
    with pytest.raises(UsageError, match="non-negative"):
        LatencyPredictor.from_json(data)

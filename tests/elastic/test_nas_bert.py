"""Paths, bins and blocks of NAS-BERT, and the networks that its paper found."""

import numpy as np
import pytest
import torch

from deploy.architecture import Projection, uniform
from deploy.costs import operator_parameters, parameters
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.exporters.to_fake import cost_list
from deploy.workload import Workload
from devices.errors import UnknownName, UsageError
from devices.runtimes.fake_runtime import Physics, fake_milliseconds
from elastic.recipes.blocks import Blocks, Prefixes, additive, counted
from elastic.recipes.nas_bert import dropped_of, nas_bert, rounds_of
from elastic.recipes.paths import SEARCHED, Path, Paths, binned, searched, timed
from elastic.space import SearchSpace
from predictors.predictor import LatencyPredictor

BASE = Paths.of(uniform(12, 768, 12, 3072, labels=2))
TEACHER, WORKLOAD = uniform(4, 192, 6, 768, labels=2), Workload(1, 32)


# Xu et al. 2021, §3.1: 5 hidden sizes, blocks of 6, identities last.
def test_the_paper_has_97650_paths_per_block() -> None:
    assert Paths((512, 384, 256, 192, 128), 64, 4, 6) == BASE
    assert BASE.count == 97_650
    assert len(set(BASE.every())) == 97_650


def test_paths_of_a_small_teacher_are_whole_heads(encoder) -> None:
    paths = Paths.of(encoder.architecture)
    assert (paths.blocks, paths.length) == (4, 1)
    assert paths.hidden == (24, 16, 8)
    assert len(set(paths.every())) == paths.count == 15


@pytest.mark.parametrize("name", SEARCHED)
def test_what_the_paper_found_is_built_and_counted(name) -> None:
    found = searched(name, vocabulary=300, labels=2)
    assert parameters(found) == sum(p.numel() for p in Encoder(found).parameters())


def test_what_the_paper_found_is_exported(tmp_path) -> None:
    whole = searched("10M", vocabulary=300, labels=2)
    # A projection, convolutions and an attention; what follows is of these again.
    encoder = Encoder(whole.with_operators(whole.operators[:6])).eval()
    made = export_variant(encoder, "onnxruntime", "fp32", tmp_path)
    import onnxruntime

    ids = np.random.default_rng(0).integers(0, 300, (2, 9))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": 0 * ids}
    [found] = onnxruntime.InferenceSession(made.path).run(None, inputs)
    with torch.inference_mode():
        wanted = encoder(**{key: torch.from_numpy(array) for key, array in inputs.items()})
    np.testing.assert_allclose(found, wanted, atol=1e-4)


# The names are of RoBERTa's 50,265 tokens.
@pytest.mark.parametrize(("name", "millions"), [("5M", 5), ("10M", 10)])
def test_what_the_paper_found_has_about_the_parameters_of_its_name(name, millions) -> None:
    assert parameters(searched(name, 50_265)) / 1e6 == pytest.approx(millions, rel=0.2)


def test_another_name_is_not_known() -> None:
    with pytest.raises(UnknownName):
        searched("7M", 100)


def test_bins_leave_out_what_sizes_disagree_on() -> None:
    paths = [Path(8, (kind,)) for kind in ("M", "F", "S3", "S5")]
    sizes = np.array([1.0, 2.0, 3.0, 4.0])
    assert binned(paths, [sizes], 2) == [paths[:2], paths[2:]]
    assert binned(paths, [sizes, sizes[[0, 2, 1, 3]]], 2) == [paths[:1], paths[3:]]


@pytest.fixture(scope="module")
def predictor() -> LatencyPredictor:
    """Of a fake device, around :data:`TEACHER`."""
    space, rng = SearchSpace.around(TEACHER), np.random.default_rng(0)
    encoders = [TEACHER, *(space.architecture(space.sample(rng)) for _ in range(13))]
    ms = [
        fake_milliseconds(cost_list(a, "fp32"), Physics.of(1), 1, WORKLOAD.batch, WORKLOAD.length)
        for a in encoders
    ]
    return LatencyPredictor().fit(encoders, [WORKLOAD] * len(encoders), ms)


def test_prices_of_a_network_sum_to_its_predicted_latency(predictor) -> None:
    paths, price = Paths.of(TEACHER), timed(predictor, TEACHER, WORKLOAD)
    bare, *networks = (
        paths.architecture(TEACHER, [path] * count, TEACHER.hidden)
        for path, count in (
            (Path(128, ("M",)), 0),
            (Path(128, ("M", "F", "S3")), 4),
            (Path(64, ("F", "S5")), 4),
        )
    )
    without, *wanted = predictor.predict([bare, *networks], [WORKLOAD] * 3)
    out = price(Projection(TEACHER.hidden), 128)
    for ms, network in zip(wanted, networks, strict=True):
        widths = zip(network.operators, network.widths, strict=False)
        total = sum(price(operator, hidden) for operator, hidden in widths)
        assert total == pytest.approx(ms - without + out, rel=0.1)


def test_bins_by_latency_leave_out_other_paths_than_by_multiply_accumulates(predictor) -> None:
    paths = Paths.of(TEACHER)
    every = list(paths.every())
    prices = (timed(predictor, TEACHER, WORKLOAD), counted(WORKLOAD.length))
    sizes = np.array([paths.price(path, TEACHER, operator_parameters) for path in every])
    by_ms, by_macs = (
        binned(every, [sizes, np.array([paths.price(path, TEACHER, price) for path in every])], 10)
        for price in prices
    )
    assert by_ms != by_macs
    assert 0 < sum(map(len, by_ms)) < len(every)


@pytest.mark.parametrize(("count", "compared"), [(93, 2000), (93, 20), (10, 5), (11, 5), (1, 1)])
def test_paths_are_dropped_until_few_are_left(count, compared) -> None:
    left = count
    for _ in range(rounds_of(count, compared, 10)):
        left -= dropped_of(left, compared, 10)
    assert left == min(count, 10)


@pytest.fixture(scope="module")
def blocks(encoder) -> Blocks:
    paths = Paths((16, 8), 8, 2, 2)
    return Blocks(encoder, paths, 16, 0).eval()


@pytest.fixture(scope="module")
def inputs(batches) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in batches[0].items()}


def test_what_paths_have_in_common_is_what_each_computes_alone(blocks, encoder, inputs) -> None:
    with torch.inference_mode():
        states, mask = encoder.embed(**inputs)
        prefixes = Prefixes(blocks, 1, states, mask)
        for path in sorted(blocks.paths.every()):
            torch.testing.assert_close(prefixes(path), blocks(1, path, states, mask))


def test_the_network_computes_what_its_blocks_do_one_after_the_other(
    blocks, encoder, inputs
) -> None:
    chosen = [Path(16, ("S3", "M")), Path(8, ("F",))]
    [network] = blocks.networks(encoder, [chosen], 32)
    with torch.inference_mode():
        states, mask = encoder.embed(**inputs)
        assert mask.equal(additive(inputs["attention_mask"], states))
        for number, path in enumerate(chosen):
            states = blocks(number, path, states, mask)
        wanted = encoder.head(states, inputs["attention_mask"])
        torch.testing.assert_close(network(**inputs), wanted, atol=1e-5, rtol=1e-4)


def test_a_network_of_smaller_rank_has_the_table_factorised(blocks, encoder) -> None:
    [network] = blocks.networks(encoder, [[Path(16, ("M",)), Path(8, ("F", "M"))]], 8)
    assert network.architecture.table == (40, 8)
    table = network.expand(network.tokens.weight).detach()
    left, values, right = torch.linalg.svd(encoder.tokens.weight.detach(), full_matrices=False)
    best = (left[:, :8] * values[:8]) @ right[:8]
    torch.testing.assert_close(table, best, atol=1e-4, rtol=0)


def test_a_chain_without_attention_is_refused(encoder, task) -> None:
    odd = Encoder(encoder.architecture.with_operators(encoder.architecture.operators[1:2]))
    with pytest.raises(UsageError, match=r"nas-bert is for encoders"):
        nas_bert(odd, task, epochs=0.1)

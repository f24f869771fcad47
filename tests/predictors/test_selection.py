from dataclasses import replace

import numpy as np
import pytest

from deploy.architecture import Architecture, uniform
from deploy.costs import costs
from deploy.workload import Workload
from devices.errors import CutonceError
from predictors.features import Features
from predictors.model import Model
from predictors.quantity import LATENCY, Quantity
from predictors.selection import _select, select_model

WORKLOAD = Workload(1, 64)
WIDTHS = [48, 100, 163, 210, 292, 340, 401, 470, 530, 590, 655, 700, 776, 830, 1000, 1200]
ENCODERS = [uniform(1 + i % 4, 192 + 64 * (i % 3), 2, width) for i, width in enumerate(WIDTHS)]


def found_in(ms: list[float]) -> Model:
    return select_model(ENCODERS, [WORKLOAD] * len(ENCODERS), np.array(ms), Features(), 0.9)[0]


def padded_macs(architecture, tile: int) -> float:
    gemms = [g for cost in costs(architecture, WORKLOAD) for g in cost.gemms]
    return sum(
        g.m * -(-g.k // tile) * -(-g.n // tile) * tile**2 * g.count for g in gemms if g.weights
    )


def mebibytes(architecture) -> float:
    return 4 * sum(cost.weights for cost in costs(architecture, WORKLOAD)) / 2**20


@pytest.mark.parametrize("tile", [1, 32, 64])
def test_finds_the_tile_of_the_device(tile: int) -> None:
    found = found_in([0.05 + padded_macs(a, tile) / 2e7 for a in ENCODERS])
    assert found.features.tile == tile


@pytest.mark.usefixtures("few_fits")
@pytest.mark.parametrize("cache", [2, 4, 8])
def test_regimes_tell_what_a_cache_does_wherever_it_ends(cache: float) -> None:
    others = [uniform(1 + i % 4, 192 + 64 * (i % 3), 2, 50 + 70 * i) for i in range(16)]

    def took(encoders: list[Architecture]) -> np.ndarray:
        sizes = np.array([mebibytes(a) for a in encoders])
        return 0.5 + sizes / 10 + np.maximum(0, sizes - cache) / 10

    def error(quantity: Quantity) -> float:
        found = select_model(
            ENCODERS, [WORKLOAD] * 16, took(ENCODERS), Features(quantity=quantity), 0.9
        )[0]
        predicted = found.law.milliseconds(found.rows(others, [WORKLOAD] * 16))
        return np.abs(predicted / took(others) - 1).mean()

    assert error(LATENCY) < min(0.02, 0.7 * error(replace(LATENCY, cached=False)))


def test_noise_alone_adds_no_tile() -> None:
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(20):
        exact = np.array([0.05 + padded_macs(a, 1) / 2e7 for a in ENCODERS])
        ms = exact * np.exp(rng.normal(0, 0.01, len(exact)))
        kept += _select(ENCODERS, [WORKLOAD] * len(ENCODERS), ms, Features()).tile == 1
    assert kept >= 15


def test_contradictory_rows_still_give_a_law() -> None:
    try:
        law = found_in([10.0 if i % 2 else 0.001 for i in range(len(ENCODERS))]).law
    except CutonceError:
        pytest.fail("a fit to nonsense must say so through its interval, not by an error")
    assert law.spread > 1

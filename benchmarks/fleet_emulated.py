"""A foreign architecture under emulation: for benchmarks/fleet.py.

What can be proved there is parity. The error of the predictors is told, of the emulator's times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from common import Row

from deploy.architecture import Architecture, uniform
from deploy.calibration import random_batches
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.parity import check_parity
from deploy.workload import Workload
from devices.device import open_device
from devices.known import known_devices
from devices.target import Target
from predictors.predictor import LatencyPredictor
from profiler.campaign import run_campaign
from profiler.job import Job
from profiler.store import Store

WORKLOAD = Workload(1, 16)
TRANSFERRED, OWN, HELD_OUT, VISITS = 5, 16, 8, 5
PROVED = ("onnxruntime/fp32", "onnxruntime/int8", "onnxruntime-mobile/fp32", "openvino/fp32")
VOCABULARY = 200


def emulated_rows(name: str, store: Store, out: Path, seed: int, *, quick: bool) -> Iterator[Row]:
    device = f"qemu:{name}"
    if name not in known_devices().get("qemu", {}):
        raise SystemExit(f"There is no {device}; python examples/emulated_device.py DIR makes one.")
    yield from parity(device, out, seed)
    if not quick:
        errors(device, store, out, seed)


def parity(device: str, out: Path, seed: int) -> Iterator[Row]:
    [shape] = drawn(1, seed)
    encoder = Encoder(shape).eval()
    calibration = random_batches(VOCABULARY, WORKLOAD.length, 16)
    for text in PROVED:
        target = Target.parse(f"{device}/{text}@1")
        exported = export_variant(
            encoder, target.runtime, target.precision, out / "emulated", calibration
        )
        report = check_parity(encoder, open_device(device), target, exported, batches=calibration)
        worst = max(case.max_error for case in report.cases) / report.scale
        yield str(target), f"largest error {worst:.1e} of the scale", report.passed


def errors(device: str, store: Store, out: Path, seed: int) -> None:
    """Of held-out encoders, by a predictor transferred from this machine, and by one of its own."""
    encoders = drawn(OWN + HELD_OUT, seed)
    here, there = (took(d, encoders, store, out, seed) for d in ("local", device))
    rest, workloads = encoders[OWN:], [WORKLOAD] * HELD_OUT
    known = LatencyPredictor().fit(encoders[:OWN], [WORKLOAD] * OWN, here[:OWN].tolist())
    for count, others in ((TRANSFERRED, [known]), (OWN, [])):
        made = LatencyPredictor().fit(
            encoders[:count], [WORKLOAD] * count, there[:count].tolist(), known=others
        )
        off = np.abs(made.predict(rest, workloads) / there[OWN:] - 1)
        print(
            f"{device}: after {count} measurements {100 * np.median(off):.1f} % median error, "
            f"{100 * off.max():.1f} % at worst of {HELD_OUT} held-out encoders (emulated times)",
            flush=True,
        )


def took(
    device: str, encoders: Sequence[Architecture], store: Store, out: Path, seed: int
) -> np.ndarray:
    target = Target(device, "onnxruntime", "fp32", 1)
    jobs = [
        Job(target, shape, WORKLOAD, export_variant(
            Encoder(shape).eval(), "onnxruntime", "fp32", out / "encoders" / shape.digest
        ).path)
        for shape in encoders
    ]  # fmt: skip
    found = run_campaign(
        jobs, store=store, campaign=f"fleet/emulated/{seed}", seed=seed, visits=VISITS
    )
    return np.array([measured.statistics.intrinsic for measured in found])


def drawn(count: int, seed: int) -> list[Architecture]:
    """Small encoders of many shapes, each another."""
    rng, found = np.random.default_rng(seed), {}
    while len(found) < count:
        heads, layers = int(rng.choice([1, 2, 4])), int(rng.integers(1, 5))
        hidden, width = 32 * heads, int(rng.choice([64, 128, 256, 512]))
        shape = uniform(layers, hidden, heads, width, vocabulary=VOCABULARY, positions=64, labels=2)
        found[shape.digest] = shape
    return list(found.values())

"""Devices that are not this machine: over SSH, emulated, in a fleet, and a thousand of them.

    python benchmarks/fleet.py [--data DIR] [--emulated NAME] [--quick] [--out DIR] [--json FILE]

--emulated names a device that examples/emulated_device.py made; without it that part is left out, and so
is the SSH part where no SSH server is installed. DIR (or CUTONCE_DATA) holds search_tables. Prints PASS
or MISS per target:

- this machine over SSH (a server of its own on loopback, with throw-away keys) against itself: the
  latency of one encoder differs by no more than two measurements of this machine do;
- with connections cut and the server stopped in the middle, no visit is lost or doubled;
- a fleet of 2, 4 and 8 fake devices, workers of a real cluster: in virtual time N devices take at most
  1 / (0.8 N) of what they take one after the other; a worker that is killed loses and doubles no visit;
- the emulated device: artifacts keep parity; the error of a predictor that was transferred from this
  machine after 5 measurements, and of one of its own after 16, is told;
- 1,000 fake devices x 4 budgets in one run: at most 10 minutes and 4 GB, an error of 5 % after 5
  measurements, 95 % of the budgets held.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
from common import Row, drawn_seed, machine, verdict
from fleet_emulated import emulated_rows
from fleet_scale import scale_rows

from deploy.architecture import uniform
from deploy.encoder import Encoder
from deploy.exporters import export_variant
from deploy.workload import Workload
from devices import cluster
from devices.device import open_device
from devices.errors import DeviceError
from devices.known import remember_device
from devices.target import Target
from profiler.campaign import APART, STARTS, run_campaign
from profiler.job import Job
from profiler.measurement import Measurement
from profiler.store import Store

sys.path.append(str(Path(__file__).parents[1]))  # the servers that the tests start
from tests.cluster import start_cluster
from tests.sshd import SSHD, Sshd

WORKLOAD = Workload(1, 64)
ROUNDS, VISITS, CUT_VISITS = 3, 15, 40
SIZES, EFFICIENCY = (2, 4, 8), 0.8
FLEET_VISITS = 500  # of fake devices, which take no time: enough to see them work together


def main() -> int:
    args = parse()
    seed = drawn_seed(args.out)
    print(machine())
    print(f"seed drawn at run time: {seed}")
    gpu = open_device("local").fingerprint().gpu
    print(f"GPU: {gpu or 'none was at hand'}")
    with TemporaryDirectory() as home, Store(args.out / "measurements.sqlite") as store:
        os.environ["XDG_CACHE_HOME"] = home
        rows: list[Row] = []
        if args.emulated:
            rows += emulated_rows(args.emulated, store, args.out, seed, quick=args.quick)
        with patch.dict(os.environ):  # devices of these parts alone are remembered elsewhere
            rows += [*ssh_rows(store, args, seed), *fleet_rows(store, args, seed)]
    counts = (10, 20) if args.quick else (125, 250, 500, 1000)
    more, scales = scale_rows(args.data, seed, counts)
    return verdict(rows + more, args.json, scales=[asdict(scale) for scale in scales])


def encoder_of(seed: int, layers: int = 4, hidden: int = 128) -> Encoder:
    torch.manual_seed(seed)
    shape = uniform(layers, hidden, 4, 4 * hidden, vocabulary=1000, positions=64, labels=2)
    return Encoder(shape).eval()


def jobs(runtime: str, devices: list[str], out: Path, seed: int) -> list[Job]:
    encoder = encoder_of(seed)
    path = export_variant(encoder, runtime, "fp32", out / "encoder").path
    targets = [Target(device, runtime, "fp32", 1) for device in devices]
    return [Job(target, encoder.architecture, WORKLOAD, path) for target in targets]


def ssh_rows(store: Store, args: argparse.Namespace, seed: int) -> Iterator[Row]:
    if not SSHD:
        print("No SSH server is installed: nothing is measured over SSH.")
        return
    with TemporaryDirectory() as text:
        place = Path(text)
        os.environ["XDG_CONFIG_HOME"] = text
        os.environ["PATH"] = f"{place}/bin:{os.environ['PATH']}"
        remember_device("ssh", "board", {"host": "board", "python": sys.executable})
        Path("/run/sshd").mkdir(exist_ok=True)
        server = Sshd(place)
        here, there = (jobs("onnxruntime", [d], args.out, seed) for d in ("local", "ssh:board"))
        try:
            yield beside(store, here, there, quick=args.quick)
            yield cut(store, there, server)
        finally:
            server.stop()


def beside(store: Store, here: list[Job], there: list[Job], *, quick: bool) -> Row:
    """Turn by turn, so that a slow hour of the machine is everybody's."""
    found: dict[str, list[float]] = {"here": [], "there": []}
    for _ in range(1 if quick else ROUNDS):
        for name, some in (("here", here), ("there", there), ("here", here)):
            [measured] = run_campaign(
                some, store=store, campaign=f"fleet/{secrets.token_hex(6)}", seed=0,
                visits=VISITS, starts=STARTS, apart=0.0 if quick else APART,
            )  # fmt: skip
            found[name].append(measured.statistics.intrinsic)
    own = found["here"]
    repeat = max(max(pair) / min(pair) for pair in zip(own[::2], own[1::2], strict=True)) - 1
    ratio = sorted(found["there"])[len(found["there"]) // 2] / sorted(own)[len(own) // 2]
    text = f"{100 * (ratio - 1):+.1f} %, two measurements here differ by up to {100 * repeat:.1f} %"
    return "ssh against local", text, abs(ratio - 1) <= max(repeat, 0.01)


def cut(store: Store, some: list[Job], server: Sshd) -> Row:
    """The server stopped after a third of the visits, connections cut after two thirds."""
    disasters = {CUT_VISITS // 3: server.stop, 2 * CUT_VISITS // 3: server.cut}

    def strike(done: int, _total: int) -> None:
        disasters.pop(done, lambda: None)()

    def pause(_seconds: float) -> None:
        if server.stopped:
            server.start()

    campaign = f"fleet/{secrets.token_hex(6)}"
    [measured] = run_campaign(
        some, store=store, campaign=campaign, seed=0, visits=CUT_VISITS, least=CUT_VISITS,
        progress=strike, pause=pause,
    )  # fmt: skip
    return whole("connection cut and server stopped", measured, CUT_VISITS)


def whole(name: str, measured: Measurement, wanted: int) -> Row:
    """Whether a measurement has all its visits, each once."""
    starts = [visit.started for visit in measured.visits]
    quiet = sum(visit.quiet for visit in measured.visits)
    processes = len({visit.process for visit in measured.visits})
    text = f"{quiet} undisturbed visits of {wanted}, {len(starts)} in all, by {processes} processes"
    sound = len(set(starts)) == len(starts) and (quiet >= wanted or len(starts) >= 2 * wanted)
    return name, text, sound


def fleet_rows(store: Store, args: argparse.Namespace, seed: int) -> Iterator[Row]:
    os.environ["XDG_CONFIG_HOME"] = str(args.out.resolve() / "configuration")
    for size in SIZES:
        names = {f"of-{size}-{number}": seed for number in range(size)}  # alike, to be compared
        with start_cluster(names) as running:
            address = running.scheduler_address
            for name in names:
                remember_device("fleet", name, {"scheduler": address, "resource": name})
            devices = [f"fleet:{name}" for name in names]
            yield makespan(store, jobs("fake", devices, args.out, seed))
            if size == SIZES[0]:
                yield killed(store, jobs("fake", devices[:1], args.out, seed), address)
            cluster.disconnect(address)


def makespan(store: Store, some: list[Job]) -> Row:
    campaign = f"fleet/{secrets.token_hex(6)}"
    found = run_campaign(
        some, store=store, campaign=campaign, seed=0, visits=FLEET_VISITS, least=FLEET_VISITS
    )
    busy = [sum(sum(visit.milliseconds) for visit in m.visits) for m in found]
    spans = [(m.visits[0].started, m.visits[-1].started) for m in found]
    together = min(last for _, last in spans) - max(first for first, _ in spans)
    gain = sum(busy) / max(busy) if together > 0 else 1.0
    text = f"{gain:.2f} times one after the other, all at work together for {together:.1f} s"
    return f"{len(some)} devices side by side", text, gain >= EFFICIENCY * len(some)


def killed(store: Store, some: list[Job], scheduler: str) -> Row:
    """The worker killed in the middle; its nanny starts another."""
    left = {VISITS // 2}

    def kill(done: int, _total: int) -> None:
        if done in left:
            left.remove(done)
            for pid in cluster.connect(scheduler).run(os.getpid).values():
                os.kill(pid, signal.SIGKILL)

    try:
        [measured] = run_campaign(
            some, store=store, campaign=f"fleet/{secrets.token_hex(6)}", seed=0, visits=VISITS,
            least=VISITS, progress=kill, pause=lambda _seconds: None,
        )  # fmt: skip
    except DeviceError as error:
        return "a worker killed", str(error), False
    return whole("a worker killed", measured, VISITS)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("CUTONCE_DATA")
    parser.add_argument("--data", type=Path, default=data, required=data is None)
    parser.add_argument("--emulated", metavar="NAME", help="the device qemu:NAME")
    parser.add_argument("--quick", action="store_true", help="few devices, one round")
    parser.add_argument("--out", type=Path, default=Path("cutonce-fleet"))
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())

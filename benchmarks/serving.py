"""Requests per second and the 99th percentile of a served encoder, before and after it is cut.

    python benchmarks/serving.py [--shape L6-H384-A12-F1536] [--seconds 20] [--quick] [--out DIR]
                                 [--json FILE]

An encoder with random weights, the same with half of every sub-layer, and that in int8, as artifacts for
onnxruntime with as many streams of one thread as there are cores. `cutonce serve` answers for all three;
as many clients as --concurrency, each with a connection of its own, send one text of 128 tokens after the
other to one model at a time, in rounds over the models. The clients share the cores with the server, so
that both take from what a server of its own would give. Prints PASS or MISS:

- what is cut answers more requests per second than the whole model, at every concurrency.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from common import Row, drawn_seed, machine, verdict
from rival_exporters import hugging_face

import cutonce
from deploy.encoder import Encoder
from deploy.tokens import place_tokenizer
from devices.device import open_device
from elastic.families import load
from elastic.space import resized, size_of

MODELS = {"whole": "fp32", "half": "fp32", "half-int8": "int8"}
ROUNDS = 4
LENGTH = 128


def main() -> int:
    args = parse()
    seed = drawn_seed(args.out)
    print(machine())
    print(f"seed drawn at run time: {seed}")
    streams = open_device("local").physical_cores()
    artifacts = [made(name, args.shape, args.out, streams, seed) for name in MODELS]
    body = request(load(str(args.out / args.shape)).encoder.architecture.vocabulary, seed)
    rates: dict[tuple[str, int], list[float]] = {}
    late: dict[tuple[str, int], list[float]] = {}
    with serving(artifacts, args.out) as address:
        for _ in range(ROUNDS):
            for count in args.concurrency:
                for name in MODELS:
                    taken = asked(address, name, body, count, args.seconds / ROUNDS)
                    rates.setdefault((name, count), []).append(len(taken) * ROUNDS / args.seconds)
                    late.setdefault((name, count), []).extend(taken)
    rows = list(compared(rates, late, args.concurrency))
    results = {f"{name}, {count}": np.mean(some) for (name, count), some in rates.items()}
    return verdict(rows, args.json, results=results)


def made(name: str, shape: str, out: Path, streams: int, seed: int) -> Path:
    """The artifact of one of MODELS, called so."""
    place, source = out / name, hugging_face(shape, out, seed)
    if not place.exists():
        if name != "whole":
            dense = load(str(source)).encoder.architecture
            halves = [resized(op, size_of(op) // 2) for op in dense.operators]
            torch.manual_seed(seed)
            cut = out / "cut"
            Encoder(dense.with_operators(halves), ("no", "yes")).save_pretrained(cut)
            place_tokenizer(source, cut)
            source = cut
        cutonce.export(
            source, target=f"local/onnxruntime/{MODELS[name]}@1x{streams}", visits=3,
            store=out / "measurements.sqlite", out=place,
        )  # fmt: skip
    return place


def request(vocabulary: int, seed: int) -> bytes:
    ids = np.random.default_rng(seed).integers(0, vocabulary, (1, LENGTH)).tolist()
    tensor = {"name": "input_ids", "shape": [1, LENGTH], "datatype": "INT64", "data": ids}
    return json.dumps({"inputs": [tensor]}).encode()


@contextmanager
def serving(artifacts: Sequence[Path], out: Path) -> Iterator[str]:
    """HOST:PORT of a server in a process of its own."""
    said = out / "server.json"
    said.unlink(missing_ok=True)
    places = [str(place) for place in artifacts]
    command = [
        sys.executable,
        "-m",
        "cutonce.cli",
        "serve",
        *places,
        "--port",
        "0",
        "--out",
        str(said),
    ]
    with subprocess.Popen(command) as server:
        try:
            while not said.exists():
                if server.poll() is not None:
                    raise SystemExit(f"The server ended with code {server.returncode}.")
                time.sleep(0.2)
            yield json.loads(said.read_text())["address"].removeprefix("http://")
        finally:
            server.terminate()


def asked(address: str, name: str, body: bytes, count: int, seconds: float) -> list[float]:
    """Seconds of every request that ``count`` clients sent one after the other."""
    end = time.monotonic() + seconds

    def client(_: int) -> list[float]:
        connection, taken = http.client.HTTPConnection(address), []
        while (began := time.monotonic()) < end:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"/v2/models/{name}/infer", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{name} answered {answer.status}: {text[:200]!r}")
            taken.append(time.monotonic() - began)
        connection.close()
        return taken

    with ThreadPoolExecutor(count) as pool:
        return [one for some in pool.map(client, range(count)) for one in some]


def compared(
    rates: dict[tuple[str, int], list[float]],
    late: dict[tuple[str, int], list[float]],
    counts: Sequence[int],
) -> Iterator[Row]:
    for count in counts:
        for name in MODELS:
            p50, p99 = np.quantile(late[name, count], [0.5, 0.99]) * 1e3
            print(
                f"{count} clients, {name}: {np.mean(rates[name, count]):.1f} requests per second, p50 "
                f"{p50:.1f} ms, p99 {p99:.1f} ms"
            )
        for name in list(MODELS)[1:]:
            pairs = zip(rates[name, count], rates["whole", count], strict=True)
            ratios = [mine / whole for mine, whole in pairs]  # of the same round
            text = f"{np.mean(ratios):.2f} times the requests, {min(ratios):.2f} at least"
            yield f"{count} clients, {name}", text, np.mean(ratios) > 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="L6-H384-A12-F1536")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=20.0, help="per model and concurrency")
    parser.add_argument("--quick", action="store_true", help="a small encoder, 2 seconds")
    parser.add_argument("--out", type=Path, default=Path("cutonce-serving"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.shape, args.seconds = "L2-H64-A4-F256", 2.0
    args.out = args.out / args.shape
    return args


if __name__ == "__main__":
    raise SystemExit(main())

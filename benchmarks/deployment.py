"""What every runtime and precision of this machine makes of an encoder: time, error, score.

    python benchmarks/deployment.py [--data DIR] [--sizes minilm bert-base] [--threads 1 2] [--quick]
                                    [--devices local ...] [--out DIR] [--json FILE]

Encoders of the size of MiniLM and of BERT-base with random weights, whole and with half of every
sub-layer, on sequences of 128 tokens: every variant that `cutonce export --target local/auto` tries, its
latency, its largest error and the share of same answers; beside torch, onnxruntime in fp32, and what
transformers.exporters makes of the same whole model, all in one campaign. With --data (or CUTONCE_DATA,
which holds glue/SST-2, vocab_bert_uncased and model_rxnmapper_albert) the score of every variant of a
trained model on the report split too. Prints which target exports, keeps parity and runs on --devices (a
foreign architecture among them, as examples/emulated_device.py makes it), and PASS or MISS per target:

- the chosen variant is 3 times (BERT-base) and 2.3 times (MiniLM) as fast as onnxruntime fp32 of the same
  network, and half a MiniLM in int8 5 times as fast as the whole one in fp32; where the processor has
  VNNI and bf16, which these figures are for;
- the chosen variant loses at most 0.5 points of the score;
- every damaged artifact is caught.

Weights and calibration are of a seed drawn at run time. Interrupted, the same call with the same --out
exports only what is left.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import Row, drawn_seed, machine, verdict
from damage import damaged
from dense_models import prepare
from rival_exporters import hugging_face, rival_files

import cutonce
from cutonce import proof
from cutonce.proof import Subject
from cutonce.scores import headline
from cutonce.tasks import predict_with
from cutonce.trials import Trial, run_trials
from cutonce.variants import Contest, targets_of
from deploy.artifact import Artifact
from deploy.calibration import random_batches
from deploy.encoder import Encoder
from deploy.exporters import Exported
from deploy.parity import ParityReport
from deploy.workload import Workload
from devices.device import open_device
from devices.precision import PRECISIONS
from devices.runtimes import RUNTIMES
from devices.target import Target
from elastic.families import load
from elastic.space import resized, size_of
from profiler.store import Store

SIZES = {"minilm": "L6-H384-A12-F1536", "bert-base": "L12-H768-A12-F3072"}
QUICK = {"minilm": "L2-H64-A4-F256", "bert-base": "L2-H96-A4-F384"}
WANTED = {"minilm": 2.3, "bert-base": 3.0}  # times onnxruntime fp32
CUT_WANTED = 5.0
LOST_MOST = 0.005
WORKLOAD = Workload(1, 128)
MEANT_FOR = (("avx512_vnni", "avx_vnni"), ("avx512_bf16", "amx_bf16"))  # one of each
TRAINED = ("sst2", "albert")


def main() -> int:
    args = parse()
    seed = drawn_seed(args.out)
    print(machine())
    print(f"seed drawn at run time: {seed}")
    flags = open_device("local").fingerprint().flags
    meant = all(set(some) & set(flags) for some in MEANT_FOR)
    if not meant:
        print("This processor has not both VNNI and bf16: its speed-ups are told, and not judged.")
    rows, results = [], {}
    with Store(args.out / "measurements.sqlite") as store:
        for size in args.sizes:
            found = times(size, args, store, seed)
            results[size] = found
            every = list(judged(size, found))
            rows += every if meant else []
            for name, ratios, _ in () if meant else every:
                print(f"not judged  {name}: {ratios}")
        show_targets(args.devices, args.out, seed)
        if args.data is not None:
            rows += [scored(name, args, store, seed) for name in TRAINED]
    rows.append(damaged(small_artifact(args.out)))
    return verdict(rows, args.json, results=results)


def times(size: str, args: argparse.Namespace, store: Store, seed: int) -> dict[str, Any]:
    """Milliseconds by threads, by ``dense`` or ``cut``, and by variant or rival."""
    shape, place = (QUICK if args.quick else SIZES)[size], args.out / size
    source = hugging_face(shape, place, seed)
    whole = load(source).encoder
    halves = [resized(op, size_of(op) // 2) for op in whole.architecture.operators]
    torch.manual_seed(seed)
    cut = Encoder(whole.architecture.with_operators(halves)).eval()
    found: dict[str, Any] = {}
    for name, encoder in (("dense", whole), ("cut", cut)):
        contest = Contest(encoder, targets_of(f"local/auto@{max(args.threads)}"), WORKLOAD)
        calibration = random_batches(encoder.architecture.vocabulary, WORKLOAD.length, 16)
        contest.export(place / name, calibration, quiet)
        contest.prove(None, 0.0, quiet)
        for threads in args.threads:
            rivals = dict(rival_files(source, threads)) if name == "dense" else {}
            found[f"{name}, {threads} threads"] = side_by_side(
                contest, threads, rivals, store, seed, size
            )
        for target, reason in contest.out.items():
            print(f"{size} {name}: {target} is out: {reason}", flush=True)
    return found


def quiet(*_: Any) -> None:
    """Progress that nobody follows."""


def side_by_side(
    contest: Contest,
    threads: int,
    rivals: dict[str, tuple[Target, Path]],
    store: Store,
    seed: int,
    title: str,
) -> dict[str, Any]:
    """Every variant that is left, and the rivals, in one campaign. What computes in something else than
    it was asked for is out."""
    proved = {replace(target, threads=threads): target for target in contest.left}
    left = {
        str(own): replace(contest.subjects[target], target=own) for own, target in proved.items()
    }
    # Not the same measurement as ours of that target, so not the same architecture.
    other = replace(contest.encoder.architecture, norm_eps=2e-12)
    for name, (target, path) in rivals.items():
        left[name] = Subject(
            Encoder(other), target, Exported(path, (path,), path.parent), contest.workload
        )
    outcomes = run_trials(
        [Trial(subject) for subject in left.values()], store=store, campaign=f"{title}, beside",
        visits=9, seed=seed, progress=quiet,
    )  # fmt: skip
    ms = {}
    for (name, subject), outcome in zip(left.items(), outcomes, strict=True):
        used, asked = outcome.measurement.precision, PRECISIONS[subject.target.precision].computes
        if name in rivals or used == asked:
            ms[name] = outcome.measurement.statistics.intrinsic
        else:
            contest.out[proved[subject.target]] = f"it computes in {used} there."
    errors = {str(own): error(contest.parity[target]) for own, target in proved.items()}
    for name, taken in sorted(ms.items(), key=lambda pair: pair[1]):
        print(
            f"{title} {contest.encoder.architecture}: {name} {taken:.2f} ms{errors.get(name, '')}",
            flush=True,
        )
    return {"ms": ms, "chosen": min((n for n in ms if n not in rivals), key=ms.__getitem__)}


def error(report: ParityReport) -> str:
    """Of a variant: its largest error and the least share of same answers."""
    worst = max(case.max_error for case in report.cases) / report.scale
    same = [case.agreement for case in report.cases if case.agreement is not None]
    return f", error {worst:.1e} of the scale, same answer on {min(same, default=1):.0%}"


def judged(size: str, found: dict[str, Any]) -> Iterator[Row]:
    for title, some in found.items():
        ms, threads = some["ms"], title.split()[1]
        reference = ms[f"local/onnxruntime/fp32@{threads}"]
        chosen = ms[some["chosen"]]
        beside = {
            name: taken / chosen for name, taken in ms.items() if "fp32" in name or "/" not in name
        }
        ratios = ", ".join(f"{ratio:.2f} times {name}" for name, ratio in beside.items())
        yield f"{size}, {title}: {some['chosen']}", ratios, reference / chosen >= WANTED[size]
        if size == "minilm" and title.startswith("cut"):
            dense = found[f"dense, {threads} threads"]["ms"]
            least = min(taken for name, taken in ms.items() if "int8" in name)
            ratio = dense[f"local/onnxruntime/fp32@{threads}"] / least
            name = f"half a MiniLM in int8, {threads} threads"
            yield name, f"{ratio:.2f} times", ratio >= CUT_WANTED


def scored(name: str, args: argparse.Namespace, store: Store, seed: int) -> Row:
    """Every variant's score on the report split; whether the chosen one loses too much."""
    dense, task, _ = prepare(name, args.data, args.out, seed, args.quick)
    contest = Contest(dense, targets_of("local/auto"), Workload(1, 64))
    contest.hold(
        args.out / name / "variants", task=task, calibration=task.calibration(),
        allowed_loss=LOST_MOST, store=store, visits=9, seed=seed,
    )  # fmt: skip
    own = headline(task.evaluate(predict_with(dense), "report"))
    if own is None:
        raise SystemExit(f"{name} has no score")
    chosen, lost = contest.fastest(), {}
    for target in contest.targets:
        if target in contest.subjects and target in contest.parity:
            score = proof.metrics(contest.subjects[target], task, "report")[own[0]]
            lost[target] = own[1] - score
            print(
                f"{name}: {target} {own[0]} {score:.4f}, {-100 * lost[target]:+.2f} points",
                flush=True,
            )
    text = f"{chosen} loses {100 * lost[chosen]:.2f} points of {100 * own[1]:.2f}"
    return f"{name}, score of the chosen variant", text, lost[chosen] <= LOST_MOST


def show_targets(devices: Sequence[str], out: Path, seed: int) -> None:
    """Which target exports, keeps parity, and runs on a device, with a small encoder."""
    torch.manual_seed(seed)
    encoder = load(hugging_face(QUICK["minilm"], out / "small", seed)).encoder
    targets = [
        Target(device, runtime, precision, 1)
        for device in devices
        for runtime in RUNTIMES
        if runtime != "fake"
        for precision in RUNTIMES.get(runtime).precisions
    ]
    contest = Contest(encoder, targets, WORKLOAD)
    calibration = random_batches(encoder.architecture.vocabulary, WORKLOAD.length, 16)
    contest.export(out / "small" / "targets", calibration, quiet)
    contest.prove(None, 0.0, quiet)
    for target in targets:
        runtime = RUNTIMES.get(target.runtime)
        exports = "exported" if target in contest.subjects else "not exported"
        parity = contest.out.get(target, "parity")
        if not open_device(target.device).runtimes()[target.runtime]:
            parity = f"not run there: needs {runtime.install}"
        print(f"{target}: {exports}, {parity}")


def small_artifact(out: Path) -> Artifact:
    place = out / "small" / "artifact"
    if not place.exists():
        cutonce.export(
            out / "small" / QUICK["minilm"], target="local/onnxruntime/fp32@1", visits=9,
            store=out / "measurements.sqlite", out=place,
        )  # fmt: skip
    return Artifact.open(place)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("CUTONCE_DATA")
    parser.add_argument("--data", type=Path, default=None if data is None else Path(data))
    parser.add_argument("--out", type=Path, default=Path("cutonce-deployment"))
    parser.add_argument(
        "--sizes", nargs="*", choices=SIZES, default=list(SIZES), help="none for the rest alone"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--devices", nargs="+", default=["local"], help="to prove every target on")
    parser.add_argument("--quick", action="store_true", help="small encoders")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.out = args.out / "quick" if args.quick else args.out
    return args


if __name__ == "__main__":
    raise SystemExit(main())

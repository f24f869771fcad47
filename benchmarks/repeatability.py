"""Do the numbers repeat? Two campaigns minutes apart, and under load, beside back-to-back medians.

    python benchmarks/repeatability.py [--out DIR] [--threads 1 2] [--quick] [--json FILE]

24 encoders with random weights, from MiniLM to BERT-base size, drawn with a seed at run time, on
onnxruntime, OpenVINO and torch in fp32. Each campaign is a process of its own with a store of its own:
`quiet` and, 3 minutes after its end, `again`; `bursts` while another process keeps one core busy for 5
of every 10 seconds; `bandwidth` while another streams memory in the same rhythm; `never` under a load
that does not pause. Beside each campaign, in the same process, the usual way: every encoder in turn, 10
warm-ups, 100 runs, median. Prints PASS or MISS per target:

- again against quiet, |difference| of the intrinsic latency: median <= 1 %, p90 <= 3 %;
- bursts and bandwidth against quiet, signed: mean within 2 %, p90 of |difference| <= 6 %, flagged;
- under load, p90 of |difference| at least 5 times smaller than that of back-to-back medians;
- never: flagged.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from deploy.architecture import Architecture, uniform
from deploy.export_pool import ExportPool, ExportRequest
from deploy.workload import Workload
from devices.target import Target
from elastic.space import SearchSpace
from profiler.campaign import SECOND_STARTS, run_campaign
from profiler.job import Job
from profiler.store import Store

RUNTIMES = ("onnxruntime", "openvino", "torch")
SHAPES = (
    (2, 384, 12, 1536),
    (6, 384, 12, 1536),
    (4, 512, 8, 2048),
    (6, 768, 12, 3072),
    (12, 768, 12, 3072),
)
CAMPAIGNS = ("quiet", "again", "bursts", "bandwidth", "never")
LOADS = {
    "bursts": "import time\nwhile True:\n e=time.time()+5\n while time.time()<e: pass\n time.sleep(5)",
    "bandwidth": (
        "import time, numpy as np\na=np.ones(2**25)\nb=a.copy()\n"
        "while True:\n e=time.time()+5\n while time.time()<e: np.copyto(b,a)\n time.sleep(5)"
    ),
    "never": "while True: pass",
}
APART = 180.0  # seconds between the end of `quiet` and the begin of `again`
WARM_UPS, RUNS = 10, 100


def main() -> int:
    args = parse()
    if args.campaign:
        measure(args.out, args.campaign, args.threads[0], args.quick)
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "seed"
    if not path.exists():
        path.write_text(str(secrets.randbelow(2**16)))
    print(f"machine: {platform.machine()}, {os.cpu_count()} CPUs, {platform.platform()}")
    print(
        f"encoders: {len(encoders(args.out, args.quick))}, seed drawn at run time: {path.read_text()}"
    )
    export(args.out, args.quick)
    rows = []
    for threads in args.threads:
        for name in CAMPAIGNS:
            run(args.out, name, threads, args.quick)
        rows += judge(args.out, threads)
    for name, value, met in rows:
        print(f"{'PASS' if met else 'MISS'}  {name}: {value}")
    if args.json:
        args.json.write_text(
            json.dumps([dict(zip(("target", "value", "met"), r, strict=True)) for r in rows])
        )
    return 0 if all(met for _, _, met in rows) else 3


def encoders(out: Path, quick: bool) -> list[tuple[Architecture, Workload]]:
    rng = np.random.default_rng(int((out / "seed").read_text()))
    found = []
    for number in range(6 if quick else 24):
        layers, hidden, heads, width = SHAPES[number % len(SHAPES)]
        space = SearchSpace.around(uniform(layers, hidden, heads, width, vocabulary=1024))
        length = int(rng.choice((16, 32, 64) if hidden == 768 else (32, 64, 128)))
        found.append((space.architecture(space.sample(rng)), Workload(1, length)))
    return found


def export(out: Path, quick: bool) -> dict[tuple[str, str], Path]:
    """The exported file of every runtime and architecture; what is there is not made again."""
    keys = [(runtime, a) for runtime in RUNTIMES for a, _ in encoders(out, quick)]
    requests = [ExportRequest(a, runtime, "fp32", out / "files" / a.digest) for runtime, a in keys]
    with ExportPool() as pool:
        exported = pool.export(requests)
    return {
        (runtime, a.digest): files.path for (runtime, a), files in zip(keys, exported, strict=True)
    }


def run(out: Path, name: str, threads: int, quick: bool) -> None:
    """One campaign in a process of its own, under its load."""
    if (out / f"{name}-{threads}.json").exists():
        return
    if name == "again":
        ended = (out / f"quiet-{threads}.json").stat().st_mtime
        time.sleep(max(0.0, (10.0 if quick else APART) - (time.time() - ended)))
    load = subprocess.Popen([sys.executable, "-c", LOADS[name]]) if name in LOADS else None
    command = [
        sys.executable,
        __file__,
        "--out",
        str(out),
        "--threads",
        str(threads),
        "--campaign",
        name,
    ]
    try:
        subprocess.run([*command, *(["--quick"] if quick else [])], check=True)
    finally:
        if load is not None:
            load.kill()
            load.wait()


def measure(out: Path, name: str, threads: int, quick: bool) -> None:
    files = export(out, quick)
    jobs = [
        Job(Target("local", runtime, "fp32", threads), a, workload, files[runtime, a.digest])
        for runtime in RUNTIMES
        for a, workload in encoders(out, quick)
    ]
    began = time.monotonic()
    with Store(out / f"{name}-{threads}.sqlite") as store:
        measured = run_campaign(
            jobs,
            store=store,
            campaign=name,
            seed=threads,
            second_starts=SECOND_STARTS,
            spread_seconds=60.0,
        )
    seconds = time.monotonic() - began
    usual = [back_to_back(job) for job in jobs]
    rows = [
        {
            "target": str(m.target),
            "architecture": str(m.architecture),
            "intrinsic": m.statistics.intrinsic,
            "p50": m.statistics.p50,
            "usual": median,
            "visits": m.statistics.visits,
            "quiet": m.statistics.quiet,
            "warnings": list(m.warnings),
        }
        for m, median in zip(measured, usual, strict=True)
    ]
    (out / f"{name}-{threads}.json").write_text(json.dumps({"seconds": seconds, "rows": rows}))


def back_to_back(job: Job) -> float:
    """10 warm-ups, 100 runs in a row in a fresh process, median: as the usual tools take it."""
    script = (
        "import sys, json, time, numpy as np\nfrom pathlib import Path\n"
        "from devices.runtimes import RUNTIMES\n"
        "r = json.loads(sys.argv[1])\n"
        "s = RUNTIMES.get(r['runtime'])().load(Path(r['path']), 'fp32', r['threads'])\n"
        "ids = np.random.default_rng(0).integers(0, 1024, (1, r['length']), dtype=np.int64)\n"
        "one, zero = np.ones_like(ids), np.zeros_like(ids)\n"
        "x = {'input_ids': ids, 'attention_mask': one, 'token_type_ids': zero}\n"
        f"[s.run(x) for _ in range({WARM_UPS})]\n"
        "t = []\n"
        f"for _ in range({RUNS}):\n"
        " b = time.perf_counter(); s.run(x); t.append(time.perf_counter() - b)\n"
        "print(1000 * float(np.median(t)))"
    )
    request = {
        "runtime": job.target.runtime, "path": str(job.path), "threads": job.target.threads,
        "length": job.workload.length,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(request)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def judge(out: Path, threads: int) -> list[tuple[str, str, bool]]:
    read = {name: json.loads((out / f"{name}-{threads}.json").read_text()) for name in CAMPAIGNS}
    taken = {
        name: {key: column(read[name], key) for key in ("intrinsic", "usual")} for name in CAMPAIGNS
    }
    flagged = {name: share_flagged(read[name]) for name in CAMPAIGNS}
    targets = np.array([row["target"] for row in read["quiet"]["rows"]])
    for name in CAMPAIGNS:
        visits, quiet = (int(column(read[name], key).sum()) for key in ("visits", "quiet"))
        ms = taken[name]["intrinsic"]
        print(
            f"{name}@{threads}: {read[name]['seconds']:.0f} s, {visits} visits, {quiet} undisturbed, "
            f"{flagged[name]:.0%} flagged; {ms.min():.2f} to {ms.max():.1f} ms"
        )
    rows: list[tuple[str, str, bool]] = []
    for target in [*dict.fromkeys(targets), "all"]:
        mine = targets == target if target != "all" else np.ones(len(targets), bool)
        ours, usual = (difference(taken, "again", key, mine) for key in ("intrinsic", "usual"))
        median, p90 = np.quantile(abs(ours), [0.5, 0.9])
        text = (
            f"median {median:.2%}, p90 {p90:.2%} (back to back {np.quantile(abs(usual), 0.9):.2%})"
        )
        rows.append(
            (f"repeats, {target}, {threads} thread(s)", text, bool(median <= 0.01 and p90 <= 0.03))
        )
    everything = np.ones(len(targets), bool)
    for name in ("bursts", "bandwidth"):
        ours, usual = (difference(taken, name, key, everything) for key in ("intrinsic", "usual"))
        bias, p90, theirs = ours.mean(), np.quantile(abs(ours), 0.9), np.quantile(abs(usual), 0.9)
        text = f"bias {bias:+.2%}, p90 {p90:.2%}, {flagged[name]:.0%} flagged"
        met = abs(bias) <= 0.02 and p90 <= 0.06 and flagged[name] > 0.9
        rows.append((f"under {name}, {threads} thread(s)", text, bool(met)))
        text = f"p90 {theirs:.2%} back to back, {theirs / p90:.1f} times ours"
        rows.append(
            (
                f"under {name} beside the usual way, {threads} thread(s)",
                text,
                bool(theirs >= 5 * p90),
            )
        )
    rows.append(
        (
            f"never quiet, {threads} thread(s)",
            f"{flagged['never']:.0%} flagged",
            flagged["never"] == 1,
        )
    )
    return rows


def column(campaign: dict[str, Any], key: str) -> np.ndarray[Any, Any]:
    return np.array([row[key] for row in campaign["rows"]])


def share_flagged(campaign: dict[str, Any]) -> float:
    return float(np.mean([bool(row["warnings"]) for row in campaign["rows"]]))


def difference(taken: Any, name: str, key: str, mine: Any) -> np.ndarray[Any, Any]:
    return taken[name][key][mine] / taken["quiet"][key][mine] - 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("cutonce-repeatability"))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--quick", action="store_true", help="6 encoders, 10 s apart, for a look")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--campaign", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

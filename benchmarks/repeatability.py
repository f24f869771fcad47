"""Do the numbers repeat? Two campaigns minutes apart, and under load, beside back-to-back medians.

    python benchmarks/repeatability.py [--out DIR] [--threads 2 1] [--quick] [--json FILE]

24 encoders with random weights, from MiniLM to BERT-base size, drawn with a seed at run time, on
onnxruntime, OpenVINO and torch in fp32. Each campaign is a process of its own with a store of its own:
`quiet`, then `bursts` while another process keeps one core busy for 5 of every 10 seconds; `again`, at
least 3 minutes after the end of `quiet`, then `bandwidth` while another process streams memory in the
same rhythm (the loaded ones with the first of --threads alone). Beside each campaign the usual way: every
encoder in turn, 10 warm-ups, 100 runs, median. Then `cutonce measure --strict` under a load that does not
pause. Interrupted, the same call with the same --out goes on where it stopped. Prints PASS or MISS per
target:

- again against quiet, |difference| of the intrinsic latency: median <= 1 %, p90 <= 3 %;
- bursts and bandwidth against the campaign before, signed: mean within 2 %, p90 of |difference| <= 6 %,
  flagged (a shared machine's own floor moves by 2 % from hour to hour, so the two stand side by side);
- under load, p90 of |difference| at least 5 times smaller than that of back-to-back medians;
- never pausing: it ends, exit code 3.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from common import Row, cutonce, machine, verdict

from deploy.architecture import Architecture, uniform
from deploy.encoder import Encoder
from deploy.export_pool import ExportPool, ExportRequest
from deploy.workload import Workload
from devices.target import Target
from elastic.space import SearchSpace
from profiler.campaign import APART, STARTS, run_campaign
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
QUIET = ("quiet", "again")
BEFORE = {"bursts": "quiet", "bandwidth": "again"}  # of each loaded campaign
# Each ends with the process that started it, however that ends, and does not load the next campaign.
ALIVE = "import os, time\nparent = os.getppid()\nwhile os.getppid() == parent:\n"
LOADS = {
    "bursts": f"{ALIVE} e=time.time()+5\n while time.time()<e: pass\n time.sleep(5)",
    "bandwidth": (
        f"import numpy as np\na=np.ones(2**25)\nb=a.copy()\n{ALIVE}"
        " e=time.time()+5\n while time.time()<e: np.copyto(b,a)\n time.sleep(5)"
    ),
    "never": f"{ALIVE} pass",
}
BETWEEN = 180.0  # seconds between the end of `quiet` and the begin of `again`
LOADED_BYTES = 8 * 2**30  # everything, so that a visit to each is never far from a visit to another
SPREAD = 200.0  # seconds over which the visits of a campaign are spread at least
WARM_UPS, RUNS = 10, 100
USUAL = f"""
import sys, json, time
import numpy as np
from pathlib import Path
from devices.runtimes import RUNTIMES

request = json.loads(sys.argv[1])
for path, length in request["models"]:
    session = RUNTIMES.get(request["runtime"])().load(Path(path), "fp32", request["threads"])
    ids = np.random.default_rng(0).integers(0, 1024, (1, length), dtype=np.int64)
    batch = dict(input_ids=ids, attention_mask=np.ones_like(ids), token_type_ids=np.zeros_like(ids))
    for _ in range({WARM_UPS}):
        session.run(batch)
    taken = []
    for _ in range({RUNS}):
        began = time.perf_counter()
        session.run(batch)
        taken.append(time.perf_counter() - began)
    print(1000 * float(np.median(taken)))
"""


def main() -> int:
    args = parse()
    if args.campaign:
        measure(args.out, args.campaign, args.threads[0], args.quick)
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "seed"
    if not path.exists():
        path.write_text(str(secrets.randbelow(2**16)))
    print(machine())
    found = encoders(args.out, args.quick)
    print(f"encoders: {len(found)}, seed drawn at run time: {path.read_text()}")
    began = time.monotonic()
    export(args.out, args.quick)
    print(f"exported in {time.monotonic() - began:.0f} s")
    rows: list[Row] = []
    for threads in args.threads:
        loaded = tuple(BEFORE) if threads == args.threads[0] else ()
        names = ("quiet", *loaded[:1], "again", *loaded[1:])
        for name in names:
            run(args.out, name, threads, args.quick)
        rows += judge(args.out, threads, names)
    rows.append(never_pausing(args.out, args.quick))
    return verdict(rows, args.json)


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
        time.sleep(max(0.0, (10.0 if quick else BETWEEN) - (time.time() - ended)))
    command = [sys.executable, __file__, "--out", str(out), "--campaign", name]
    command += ["--threads", str(threads), *(["--quick"] if quick else [])]
    with load(name):
        subprocess.run(command, check=True)


@contextmanager
def load(name: str) -> Iterator[None]:
    """Another process that works beside, where ``name`` is that of a load."""
    beside = subprocess.Popen([sys.executable, "-c", LOADS[name]]) if name in LOADS else None
    try:
        yield
    finally:
        if beside is not None:
            beside.kill()
            beside.wait()


def measure(out: Path, name: str, threads: int, quick: bool) -> None:
    files = export(out, quick)
    jobs = [
        Job(Target("local", runtime, "fp32", threads), a, workload, files[runtime, a.digest])
        for runtime in RUNTIMES
        for a, workload in encoders(out, quick)
    ]
    usual = [ms for runtime in RUNTIMES for ms in back_to_back(runtime, jobs)]
    began = time.time()
    path = out / f"{name}-{threads}.sqlite"
    with Store(path) as store:
        measured = run_campaign(
            jobs,
            store=store,
            campaign=name,
            seed=threads,
            starts=STARTS,
            loaded_bytes=LOADED_BYTES,
            spread_seconds=SPREAD / 4 if quick else SPREAD,
            apart=APART,
        )
    seconds = time.time() - began
    rows = [
        {
            "target": str(m.target),
            "architecture": str(m.architecture),
            **m.statistics.to_json(),
            "usual": median,
            "warnings": list(m.warnings),
        }
        for m, median in zip(measured, usual, strict=True)
    ]
    found = {"seconds": seconds, "phases": phases(path, began, seconds), "rows": rows}
    (out / f"{name}-{threads}.json").write_text(json.dumps(found))


def phases(path: Path, began: float, seconds: float) -> dict[str, float]:
    """Where the campaign's time went: runs that count, loading at each start, the rest."""
    with sqlite3.connect(path) as connection:
        visits = connection.execute(
            "SELECT started, process, milliseconds FROM visit ORDER BY started"
        ).fetchall()
    connection.close()
    runs = sum(sum(json.loads(milliseconds)) for _, _, milliseconds in visits) / 1000
    seen: set[str] = set()
    loading, before = 0.0, began
    for started, process, _ in visits:
        if process not in seen and float(process) > before:
            loading += started - before  # processes start one after another, then the visits
        seen.add(process)
        before = started
    return {
        "timed runs": runs,
        "loading": loading,
        "warm-ups, readings, waits": seconds - runs - loading,
    }


def back_to_back(runtime: str, jobs: list[Job]) -> list[float]:
    """10 warm-ups, 100 runs in a row, median, encoder after encoder: as the usual tools take it."""
    mine = [job for job in jobs if job.target.runtime == runtime]
    request = {
        "runtime": runtime,
        "threads": mine[0].target.threads,
        "models": [(str(job.path), job.workload.length) for job in mine],
    }
    done = subprocess.run(
        [sys.executable, "-c", USUAL, json.dumps(request)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line) for line in done.stdout.split()]


def never_pausing(out: Path, quick: bool) -> Row:
    """`cutonce measure --strict` beside a process that takes one core all the time."""
    architecture, _ = encoders(out, quick)[0]
    model = out / "model"
    Encoder(architecture).save_pretrained(model)
    with load("never"):
        done = cutonce(
            "measure", str(model), "--target", "local/onnxruntime/fp32", "--strict",
            "--store", str(out / "never.sqlite"), "--out", str(out / "never.json"),
        )  # fmt: skip
    [entry] = json.loads((out / "never.json").read_text())["measurements"]
    numbers = entry["statistics"]
    text = (
        f"exit code {done.code} after {done.seconds:.0f} s, {numbers['quiet']} of {numbers['visits']} "
        f"visits undisturbed, {len(entry['warnings'])} warnings"
    )
    return "never pausing load, --strict", text, done.code == 3 and numbers["quiet"] == 0


def judge(out: Path, threads: int, names: tuple[str, ...]) -> list[Row]:
    read = {name: json.loads((out / f"{name}-{threads}.json").read_text()) for name in names}
    for name in names:
        describe(f"{name}@{threads}", read[name])
    targets = column(read["quiet"], "target")
    rows = [
        repeats(f"{target}, {threads} thread(s)", read, targets == target)
        for target in dict.fromkeys(targets)
    ]
    rows.append(repeats(f"all, {threads} thread(s)", read, np.ones(len(targets), bool)))
    for name in names:
        if name in BEFORE:
            rows += disturbed(name, threads, read)
    return rows


def describe(title: str, campaign: dict[str, Any]) -> None:
    visits, quiet = (int(column(campaign, key).sum()) for key in ("visits", "quiet"))
    ms = column(campaign, "intrinsic")
    phases = ", ".join(f"{phase} {took:.0f}" for phase, took in campaign["phases"].items())
    print(
        f"{title}: {campaign['seconds']:.0f} s ({phases}), {visits} visits, {quiet} undisturbed, "
        f"{share_flagged(campaign):.0%} flagged; {ms.min():.2f} to {ms.max():.1f} ms"
    )


def repeats(title: str, read: Any, mine: Any) -> Row:
    ours, usual = (difference(read, *QUIET, key)[mine] for key in ("intrinsic", "usual"))
    median, p90 = np.quantile(abs(ours), [0.5, 0.9])
    theirs = np.quantile(abs(usual), [0.5, 0.9])
    text = f"median {median:.2%}, p90 {p90:.2%} (back to back {theirs[0]:.2%}, {theirs[1]:.2%})"
    return f"repeats, {title}", text, bool(median <= 0.01 and p90 <= 0.03)


def disturbed(name: str, threads: int, read: Any) -> list[Row]:
    """Under a load, against the campaign before."""
    ours, usual = (difference(read, BEFORE[name], name, key) for key in ("intrinsic", "usual"))
    bias, p90, theirs = ours.mean(), np.quantile(abs(ours), 0.9), np.quantile(abs(usual), 0.9)
    flagged, title = share_flagged(read[name]), f"under {name}, {threads} thread(s)"
    met = abs(bias) <= 0.02 and p90 <= 0.06 and flagged > 0.9
    beside = f"p90 {theirs:.2%} back to back, {theirs / p90:.1f} times ours"
    return [
        (title, f"bias {bias:+.2%}, p90 {p90:.2%}, {flagged:.0%} flagged", bool(met)),
        (f"{title}, beside the usual way", beside, bool(theirs >= 5 * p90)),
    ]


def column(campaign: dict[str, Any], key: str) -> np.ndarray[Any, Any]:
    return np.array([row[key] for row in campaign["rows"]])


def share_flagged(campaign: dict[str, Any]) -> float:
    return float(np.mean([bool(row["warnings"]) for row in campaign["rows"]]))


def difference(read: Any, before: str, after: str, key: str) -> np.ndarray[Any, Any]:
    return column(read[after], key) / column(read[before], key) - 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("cutonce-repeatability"))
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--quick", action="store_true", help="6 encoders, 10 s apart, for a look")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--campaign", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

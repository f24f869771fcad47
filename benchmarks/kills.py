"""Is a visit ever lost or taken twice? A campaign killed with SIGKILL at random moments, and resumed.

    python benchmarks/kills.py [--kills 100] [--json FILE]

Three small encoders, two on the fake device and one on onnxruntime, are measured in one campaign, which
is killed at a moment drawn at run time and started again, as often as asked for. A visit that the
campaign had told of and that the store does not have is lost; two that began at one time are one taken
twice. At the end the campaign goes on to its end undisturbed, and must hold exactly the visits wanted.
Prints PASS or MISS: none lost, none doubled, none missing at the end.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import Row, machine, verdict

from deploy.architecture import uniform
from deploy.workload import Workload
from devices.target import Target
from profiler.campaign import run_campaign
from profiler.job import Job
from profiler.store import Store

SMALL = uniform(1, 32, 2, 64, vocabulary=64, positions=16)
TARGETS = ("fake/fake/fp32@1", "fake/fake/int8@1", "local/onnxruntime/fp32@1")
ENDLESS = 10**6  # visits, which no campaign reaches before it is killed
LONGEST = 1.0  # seconds after the first visit of a start, before which it is killed


def main() -> int:
    args = parse()
    if args.child:
        measure(args.child, args.visits)
        return 0
    seed = secrets.randbelow(2**16)
    print(f"{machine()}; moments drawn with seed {seed}")
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        export(root)
        lost = sum(kill(root, float(rng.uniform(0, LONGEST))) for _ in range(args.kills))
        taken = count(root, "SELECT COUNT(*) FROM visit")
        doubled = taken - count(
            root, "SELECT COUNT(*) FROM (SELECT DISTINCT subject, started FROM visit)"
        )
        most = count(root, f"SELECT MAX(n) FROM ({PER_SUBJECT})")
        subprocess.run(command(root, most + 5), check=True, stdout=subprocess.DEVNULL)
        wrong = count(
            root, f"SELECT COUNT(*) FROM ({PER_SUBJECT}) WHERE virtual AND n <> {most + 5}"
        )
    rows: list[Row] = [
        ("visits lost", f"{lost} of {taken} in {args.kills} kills", lost == 0),
        ("visits doubled", f"{doubled} of {taken}", doubled == 0),
        (
            "campaign finished after the last kill",
            f"{wrong} encoders with other than {most + 5} visits",
            wrong == 0,
        ),
    ]
    return verdict(rows, args.json)


PER_SUBJECT = (
    "SELECT COUNT(*) AS n, target LIKE 'fake%' AS virtual FROM visit JOIN subject "
    "ON subject.id = visit.subject GROUP BY subject"
)


def export(root: Path) -> None:
    """What is measured; in this process, so that a start of the campaign need not wait for torch."""
    from deploy.encoder import Encoder
    from deploy.exporters import export_variant

    encoder, files = Encoder(SMALL).eval(), {}
    for target in map(Target.parse, TARGETS):
        done = export_variant(encoder, target.runtime, target.precision, root / "files")
        files[str(target)] = str(done.path)
    (root / "files.json").write_text(json.dumps(files))


def command(root: Path, visits: int) -> list[str]:
    return [sys.executable, __file__, "--child", str(root), "--visits", str(visits)]


def kill(root: Path, seconds: float) -> int:
    """Start the campaign, kill it ``seconds`` after its first visit; visits that got lost."""
    with subprocess.Popen(command(root, ENDLESS), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told = child.stdout.readline()
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        told = [told, *child.stdout][-1]
    if not told.endswith("\n"):
        raise SystemExit(f"the campaign ended before it was killed: {told!r}")
    return max(0, int(told) - count(root, "SELECT COUNT(*) FROM visit"))


def measure(root: Path, visits: int) -> None:
    """Measure, and tell after every visit how many there are."""
    files = json.loads((root / "files.json").read_text())
    jobs = [Job(Target.parse(t), SMALL, Workload(1, 8), Path(files[t])) for t in TARGETS]
    with Store(root / "kills.sqlite") as store:
        run_campaign(
            jobs, store=store, campaign="kills", seed=0, visits=visits, least=visits,
            progress=lambda done, _: print(done, flush=True),
        )  # fmt: skip


def count(root: Path, query: str) -> int:
    with sqlite3.connect(root / "kills.sqlite") as connection:
        (found,) = connection.execute(query).fetchone()
    connection.close()
    return int(found)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--visits", type=int, default=ENDLESS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

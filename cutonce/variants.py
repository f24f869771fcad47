"""Every variant of one encoder that a device can run: which are correct, and which of those is fastest.

A variant is a runtime with a precision. All are exported; what fails the parity gate or loses more of the
task's score than allowed is out, and keeps its numbers; the others are measured side by side. The score
that decides is on the search split, so that the report split stays unseen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cutonce import proof
from cutonce.console import Advance, progress, show_table
from cutonce.proof import Subject
from cutonce.scores import headline
from cutonce.tasks import predict_with
from cutonce.trials import Outcome, Trial, run_trials
from deploy.calibration import require_enough
from deploy.encoder import Encoder
from deploy.exporters import export_variant, takes_calibration
from deploy.parity import ParityReport
from deploy.task import Task
from deploy.workload import Workload
from devices.device import open_device
from devices.errors import CutonceError, DeviceError, GateNotMet
from devices.precision import PRECISIONS
from devices.runtimes import RUNTIMES, Arrays
from devices.target import Target
from profiler.store import Store

AUTO = re.compile(r"(?P<device>[^/]+)/auto(?P<threads>@.*)?")


def targets_of(text: str) -> list[Target]:
    """The target ``text``; for ``DEVICE/auto[@THREADS]`` one for every runtime and precision there.

    Raises:
        UnknownName, UsageError: as Target.parse.
        DeviceError: ``auto`` where no runtime is installed.
    """
    match = AUTO.fullmatch(text)
    if not match:
        return [Target.parse(text)]
    device, threads = match["device"], match["threads"] or ""
    here = [
        name
        for name, version in open_device(device).runtimes().items()
        if version and not RUNTIMES.get(name).stands_for
    ]
    if not here:
        raise DeviceError(f"{device} has no runtime; `cutonce devices` says what to install.")
    return [
        Target.parse(f"{device}/{runtime}/{precision}{threads}")
        for runtime in here
        for precision in RUNTIMES.get(runtime).precisions
    ]


class Contest:
    """What became of every variant, as far as it came.

    Attributes:
        out: why a variant is not to be shipped.
        subjects, parity, scores, outcomes: of those that came so far; scores on the search split.
    """

    def __init__(self, encoder: Encoder, targets: Sequence[Target], workload: Workload) -> None:
        self.encoder, self.targets, self.workload = encoder, targets, workload
        self.out: dict[Target, str] = {}
        self.subjects: dict[Target, Subject] = {}
        self.parity: dict[Target, ParityReport] = {}
        self.scores: dict[Target, float] = {}
        self.outcomes: dict[Target, Outcome] = {}

    def hold(
        self,
        root: Path,
        *,
        task: Task | None,
        calibration: Sequence[Arrays],
        allowed_loss: float,
        store: Store,
        visits: int,
        seed: int,
    ) -> None:
        """Export, prove and measure."""
        with progress("exporting every variant") as advance:
            self.export(root, calibration, advance)
        with progress("parity and score of every variant") as advance:
            self.prove(task, allowed_loss, advance)
        with progress("measuring what is correct") as advance:
            self.measure(store, visits, seed, advance)

    def export(self, place: Path, calibration: Sequence[Arrays], advance: Advance) -> None:
        """Below the root ``place``, where variants of one graph share its file."""
        for target in self._each(advance):
            with self._or_out(target):
                if takes_calibration(target.runtime, target.precision):
                    require_enough(calibration, str(target))
                exported = export_variant(
                    self.encoder, target.runtime, target.precision, place, calibration
                )
                self.subjects[target] = Subject(self.encoder, target, exported, self.workload)

    def prove(self, task: Task | None, allowed: float, advance: Advance) -> None:
        """Parity in a fresh process; then the score, which may be ``allowed`` less than the encoder's."""
        scored = task if task is not None and task.labelled else None
        own = _score(scored.evaluate(predict_with(self.encoder), "search")) if scored else 0.0
        wanted = proof.reference(self.encoder, task)
        for target in self._each(advance):
            with self._or_out(target):
                self.parity[target] = proof.parity(self.subjects[target], wanted)
                self.parity[target].require()
                if scored is not None:
                    self._check_score(target, scored, own - allowed)

    def _check_score(self, target: Target, task: Task, least: float) -> None:
        score = self.scores[target] = _score(proof.metrics(self.subjects[target], task, "search"))
        if score < least:
            raise GateNotMet(
                f"{target}: it scores {score:.4f} on the search split, where {least:.4f} is the least "
                "that is allowed."
            )

    def measure(self, store: Store, visits: int, seed: int, advance: Advance) -> None:
        """Side by side; what computes in something else than it was asked for is out."""
        left = self.left
        outcomes = run_trials(
            [Trial(self.subjects[target]) for target in left],
            store=store,
            campaign=proof.new_campaign("export"),
            visits=visits,
            seed=seed,
            progress=advance,
        )
        for target, outcome in zip(left, outcomes, strict=True):
            self.outcomes[target] = outcome
            used = outcome.measurement.precision
            if used != PRECISIONS[target.precision].computes:
                self.out[target] = f"{target}: it computes in {used} there."

    @property
    def left(self) -> list[Target]:
        """That nothing speaks against."""
        return [target for target in self.targets if target not in self.out]

    def fastest(self) -> Target:
        """Of those that are left, by intrinsic latency. Raises GateNotMet where none is."""
        if not self.left:
            raise GateNotMet("No variant can be shipped: " + " ".join(self.out.values()))
        return min(
            self.left,
            key=lambda target: self.outcomes[target].measurement.statistics.intrinsic,
        )

    def to_json(self) -> list[dict[str, Any]]:
        """A row per variant, None for what it did not come to."""
        return [
            {
                "target": str(target),
                "out": self.out.get(target),
                "size_bytes": subject.exported.size_bytes if subject else None,
                "parity": parity.to_json() if parity else None,
                "search_score": self.scores.get(target),
                "latency": outcome.to_json() if outcome else None,
            }
            for target in self.targets
            for subject, parity, outcome in [
                (self.subjects.get(target), self.parity.get(target), self.outcomes.get(target))
            ]
        ]

    def _each(self, advance: Advance) -> Iterator[Target]:
        """Those that are left when it begins."""
        left = self.left
        for number, target in enumerate(left):
            yield target
            advance(number + 1, len(left))

    @contextmanager
    def _or_out(self, target: Target) -> Iterator[None]:
        """It is out where the block fails, whatever a vendor raises."""
        try:
            yield
        except CutonceError as error:
            self.out[target] = str(error)
        except Exception as error:
            self.out[target] = f"{target}: {type(error).__name__}: {error}"


def _score(metrics: dict[str, float]) -> float:
    found = headline(metrics)
    if found is None:
        raise GateNotMet("The task has no score to judge variants by; export without --data.")
    return found[1]


def show_variants(rows: Sequence[dict[str, Any]], chosen: str) -> None:
    """Every variant that was tried, the fastest first, those that are out last."""

    def order(row: dict[str, Any]) -> tuple[bool, float]:
        latency = row["latency"]
        return bool(row["out"]), latency["intrinsic"] if latency else float("inf")

    cells = []
    for row in sorted(rows, key=order):
        latency, size, score = row["latency"], row["size_bytes"], row["search_score"]
        cells.append(
            (
                row["target"],
                "–" if latency is None else f"{latency['intrinsic']:.3g}",
                "–" if size is None else f"{size / 1e6:.1f}",
                "–" if score is None else f"{score:.4f}",
                "chosen" if row["target"] == chosen else row["out"] or "slower",
            )
        )
    header = ("variant", "intrinsic ms", "MB", "score (search)", "")
    show_table("Every runtime and precision here", header, cells)
